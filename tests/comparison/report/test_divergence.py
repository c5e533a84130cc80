"""Where two curves part, and what differs between their runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from folders import run

from saddlepoint.comparison.arms.record import read_run
from saddlepoint.comparison.report.divergence import (
    describe_divergence,
    find_divergence,
    format_differences,
    run_differences,
)
from saddlepoint.error import Mistake

KEY = "generator/adversarial"


def journal(folder: Path, *rows: tuple[int, dict[str, float]]) -> None:
    """Write metrics.jsonl: (images, values); the clock differs in every run."""
    said = [{"images": images, "seconds": 0.1 * len(str(folder)), **values} for images, values in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))


@pytest.fixture
def a(tmp_path: Path) -> Path:
    folder = run(tmp_path, "a", 0)
    journal(folder, (0, {"fid": 9.0}), (64, {KEY: 1.0}), (128, {KEY: 0.5, "d": 2.0}), (128, {"fid": 5.0}))
    return folder


@pytest.fixture
def b(a: Path) -> Path:
    return shutil.copytree(a, a.parents[1] / "another" / "seed0")


def test_a_copy_differs_in_nothing_and_its_curve_never_parts(a: Path, b: Path) -> None:
    journal(b, (0, {"fid": 9.0}), (64, {KEY: 1.0}), (128, {KEY: 0.5, "d": 2.0}), (128, {"fid": 5.0}))
    assert run_differences(read_run(a), read_run(b)) == []
    found = find_divergence(read_run(a), read_run(b))
    assert (found.events, found.equal, found.images) == (3, 3, None)
    assert "equal, bit for bit, at all 3 moments" in describe_divergence(read_run(a), read_run(b), found)[0]


def test_curves_part_at_the_first_value_whose_last_bit_differs(a: Path, b: Path) -> None:
    journal(b, (0, {"fid": 9.0}), (64, {KEY: 1.0 + 2**-52}), (128, {KEY: 7.0, "d": 2.0}))
    found = find_divergence(read_run(a), read_run(b))
    assert (found.images, found.key, found.a, found.b, found.equal, found.keys) == (64, KEY, 1.0, 1.0 + 2**-52, 1, 1)


def test_events_are_matched_by_images_and_those_of_one_run_alone_are_said(a: Path, b: Path) -> None:
    journal(b, (0, {"fid": 9.0}), (32, {KEY: 3.0}), (96, {KEY: 3.0}), (128, {"fid": 6.0, KEY: 0.5}))
    found = find_divergence(read_run(a), read_run(b))
    assert (found.events, found.images, found.key, found.a, found.b) == (2, 128, "fid", 5.0, 6.0)
    said = describe_divergence(read_run(a), read_run(b), found)
    assert "2 moments are in b alone, from 32 images on." in said


def test_nan_equals_nan(a: Path, b: Path) -> None:
    for folder in (a, b):
        journal(folder, (0, {KEY: float("nan")}))
    assert find_divergence(read_run(a), read_run(b)).images is None


def test_nothing_in_common_is_said(a: Path, b: Path) -> None:
    journal(b, (1, {KEY: 1.0}))
    assert (
        "no moment in common"
        in describe_divergence(read_run(a), read_run(b), find_divergence(read_run(a), read_run(b)))[0]
    )


def test_config_data_environment_commit_and_end_are_told_apart(tmp_path: Path) -> None:
    folders = [
        run(tmp_path, "a", 0),
        run(tmp_path, "b", 0, None, status="diverged", optimizer={"generator": {"lr": 2.0}}),
    ]
    for i, folder in enumerate(folders):
        (folder / "provenance.json").write_text(json.dumps({
            "started": f"{i}", "git": {"commit": "abcdef"[i]}, "packages": {"torch": f"2.{i}", "numpy": "2"},
            "hardware": {"cores": 2}, "data": {"sha256": {"train": f"{i}"}},
        }))  # fmt: skip
    found = {(part, key): (x, y) for part, key, x, y in run_differences(*map(read_run, folders))}
    assert found == {
        ("config", "optimizer.generator.lr"): (0.001, 2),
        ("data", "sha256.train"): ("0", "1"),
        ("environment", "packages.torch"): ("2.0", "2.1"),
        ("commit", "commit"): ("a", "b"),
        ("end", "status"): ("finished", "diverged"),
    }
    said = format_differences(run_differences(*map(read_run, folders)))
    assert said[:2] == ["config", "  optimizer.generator.lr: 0.001 -> 2.0"]


def test_what_is_equal_is_named(a: Path, b: Path) -> None:
    journal(b, (0, {"fid": 9.0}))
    assert format_differences(run_differences(read_run(a), read_run(b))) == [
        "config, data, environment, commit, end: the same"
    ]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="is no run folder"):
        read_run(tmp_path)
