"""Finished runs of the first edition (commit 11608e8) give the same results in every later edition.

tests/fixture/runs contains one run of each kind: images (two seeds), points, semi-supervised; and eight samples of
each.  Scores must agree to 1 in 500, samples to one grey level, since the last bits differ between CPU types.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from saddlepoint.cli import main

RUNS = Path(__file__).parent / "fixture" / "runs"
KINDS = ("image", "points", "semisupervised")
# names of a generator's weights since the first edition; new names need a mapping from these
WEIGHTS = [f"layers.{layer}.{kind}" for layer in ("0.0", "1.0", "2") for kind in ("bias", "weight")]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A writable copy of the fixture."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUNS, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_evaluates_to_its_recorded_scores_and_contracts(runs, kind):
    folder = runs / kind / "seed0"
    assert main(["evaluate", f"run={folder}"]) == 0
    measured = json.loads((folder / "evaluations.jsonl").read_text().splitlines()[-1])["scores"]
    recorded = json.loads((folder / "summary.json").read_text())["final"]
    evaluated = {key: score for key, score in recorded.items() if score["contract"]["weights"] == "averaged"}
    assert evaluated.keys() <= measured.keys()
    assert len(evaluated) >= 3
    for key, score in evaluated.items():
        assert measured[key]["value"] == pytest.approx(score["value"], rel=2e-3, abs=2e-3), key
        assert {name: measured[key]["contract"].get(name) for name in score["contract"]} == score["contract"], key


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_samples_as_recorded(runs, kind, tmp_path):
    assert main(["sample", f"run={runs / kind / 'seed0'}", "n=8", f"to={tmp_path / 'now.npz'}"]) == 0
    now, then = (np.load(path)["arr_0"] for path in (tmp_path / "now.npz", RUNS / kind / "samples.npz"))
    assert (now.shape, now.dtype) == (then.shape, then.dtype)
    assert np.abs(now.astype(float) - then.astype(float)).max() <= (1 if then.dtype == np.uint8 else 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_run_keeps_the_names_of_its_weights(runs, kind, tmp_path):
    from safetensors.numpy import load_file

    to = tmp_path / "exported"
    assert main(["export", f"run={runs / kind / 'seed0'}", f"to={to}", "formats=[safetensors]"]) == 0
    assert sorted(load_file(to / "generator.safetensors")) == WEIGHTS


def test_runs_are_compared_by_their_recorded_scores(runs, tmp_path):
    arguments = [
        "by=[prior,images]",
        "metric=fid_digits_900_train",
        "logger.mode=disabled",
        f"to={tmp_path / 'report'}",
    ]
    assert main(["compare", f"runs=[{runs / 'image'},{runs / 'semisupervised'}]", *arguments]) == 0
    row = (tmp_path / "report" / "table.csv").read_text().splitlines()
    means = [float(line.split(",")[row[0].split(",").index("mean")]) for line in row[1:]]
    recorded = [json.loads((RUNS / name / "summary.json").read_text())["final"]["fid_digits_900_train"]["value"]
                for name in ("image/seed0", "image/seed1", "semisupervised/seed0")]  # fmt: skip
    assert any(math.isclose(mean, sum(recorded[:2]) / 2) for mean in means)
    assert any(math.isclose(mean, recorded[2]) for mean in means)
