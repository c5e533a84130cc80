"""A refused command writes nothing and prints a line with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from saddlepoint.cli import main
from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run


@pytest.mark.parametrize("words", [["architecture=dcgan"], ["data=mnist", "data.root=nowhere", "architecture=conv28"]])
def test_a_training_that_cannot_start_writes_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "logger=none", "outputs=a/b", *words]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_lock_does_not_change_the_folder(tmp_path: Path) -> None:
    run = Run(tmp_path / "outputs" / "name" / "seed0")
    (tmp_path / "outputs").mkdir()
    with pytest.raises(Mistake, match="reason"), run.lock():
        raise Mistake("reason")
    assert list((tmp_path / "outputs").iterdir()) == []
    with run.lock():
        run.folder.mkdir(parents=True)
    assert run.folder.exists()
    with pytest.raises(Mistake, match="reason"), run.lock():
        raise Mistake("reason")
    assert run.folder.exists()


def test_other_files_next_to_a_refused_run_stay(tmp_path: Path) -> None:
    run = Run(tmp_path / "outputs" / "name" / "seed0")
    with run.lock():
        (tmp_path / "outputs" / "name" / "theirs").write_text("")
    assert [path.name for path in (tmp_path / "outputs" / "name").iterdir()] == ["theirs"]


def test_a_folder_of_runs_lists_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        (tmp_path / "name" / f"seed{seed}").mkdir(parents=True)
        (tmp_path / "name" / f"seed{seed}" / "config.yaml").write_text("")
    for folder in (tmp_path / "name", tmp_path):
        for command in ("sample", "evaluate", "memorisation", "export"):
            assert main([command, f"run={folder}"]) == 1
            message = capsys.readouterr().err
            assert "is not a run folder" in message
            assert f"It contains run={tmp_path}/name/seed0, run={tmp_path}/name/seed1" in message


def _samples(folder: Path, n: int = 120) -> Path:
    path = folder / "samples.npz"
    np.savez(path, arr_0=np.random.default_rng(0).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8))
    return path


def test_evaluation_n_takes_the_first_of_stored_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = np.load(_samples(tmp_path))["arr_0"]
    np.savez("first.npz", arr_0=whole[:100])
    words = ["data=digits", "metric=[frechet_distance]", "evaluation.second_extractor=null"]
    assert main(["evaluate", "samples=samples.npz", *words, "evaluation.n=100", "to=n.json"]) == 0
    assert "the first 100 of 120 samples are measured" in capsys.readouterr().err
    assert main(["evaluate", "samples=first.npz", *words, "to=first.json"]) == 0
    ((result,), (expected,)) = (json.loads(Path(f"{name}.json").read_text()).values() for name in ("n", "first"))
    assert result == expected
    (score,) = result.values()
    assert score["contract"]["n_fake"] == 100
    assert main(["evaluate", "samples=samples.npz", *words, "evaluation.n=500"]) == 1
    assert "evaluation.n=500: there are only 120 samples" in capsys.readouterr().err


THEIRS = """\
import torch
from torch import nn
from saddlepoint.turn import DiscriminatorOutput


class Plain(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(64, 1)

    def forward(self, x, y=None):
        return self.layer(x.flatten(1))


class Pair(nn.Module):
    def __init__(self, latent, shape):
        super().__init__()
        self.layer = nn.Linear(latent, 64)

    def forward(self, latent, y=None):
        return self.layer(latent["z"]).view(-1, 1, 8, 8), None, None


def each(real, fake):
    return (real - fake).square()


def number(real, fake):
    return 1.0
"""
WRONG = [
    ("architecture.discriminator={_target_: their_game.Plain, shape: [1,8,8]}",
     "the discriminator returns a tensor of shape [2, 1], but must return a saddlepoint.turn.DiscriminatorOutput", 11),
    ("architecture.generator={_target_: their_game.Pair, latent: 100, shape: [1,8,8]}",
     "generator returns a tuple of 3: return the samples, or a pair", None),
    ("objective.discriminator={_target_: their_game.each, _partial_: true}",
     "objective.discriminator returns a tensor of shape [2], but must return a scalar tensor", 24),
    ("objective.discriminator={_target_: their_game.number, _partial_: true}",
     "objective.discriminator returns a float, but must return a scalar tensor", 28),
]  # fmt: skip


@pytest.mark.parametrize(("override", "printed", "line"), WRONG, ids=["tensor", "tuple", "vector", "number"])
def test_a_wrong_return_value_of_user_code_is_reported_with_its_line(
    override: str,
    printed: str,
    line: int | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "their_game.py").write_text(THEIRS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["train", "logger=none", f"outputs={tmp_path}/out", "allow_target=[their_game]", override]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert printed in message
    assert line is None or message.endswith(f"their_game.py, line {line})")
    assert not (tmp_path / "out").exists()
