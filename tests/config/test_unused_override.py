"""Overrides that a command does not use are refused; of two values of a key the last counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import run

from saddlepoint.cli import main
from saddlepoint.cli.unused_override import describe_shadowed_overrides

SAMPLES = ["samples=samples.npz", "data=digits"]
IMPORT = ["import", "from=samples.npz", "name=theirs", "data=digits"]
UNREAD = [
    (["sample", "run=run"], "devices=2", "saddlepoint train uses it"),
    (["sample", "run=run"], "optimizer.generator.lr=1", "saddlepoint train uses it"),
    (["sample", "run=run"], "optimizer=adam", "saddlepoint train uses it"),
    (["sample", "run=run"], "objective=hinge", "saddlepoint train uses it"),
    (["sample", "run=run"], "+regularizer=r1", "saddlepoint train uses it"),
    (["sample", "run=run"], "evaluation.n=50", "saddlepoint evaluate uses it"),
    (["sample", "run=run"], "metric=[coverage]", "saddlepoint evaluate uses it"),
    (["sample", "run=run"], "images=100", "at=<images>"),
    (["sample", "run=run"], "seed=3", "sample_seed=3"),
    (["sample", "run=run"], "trainer.precision=bf16", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "devices=2", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "callback=[grid]", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "logger=none", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "launcher.processes=2", "saddlepoint train -m uses it"),
    (["evaluate", "run=run"], "overwrite=true", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "resume.allow=[data]", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "compile=true", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "evaluation.selection.n=50", "saddlepoint train uses it"),
    (["evaluate", "run=run"], "generations=6", "uncertainty=true uses it"),
    (["evaluate", "run=run"], "groups=10", "uncertainty=true uses it"),
    (["evaluate", *SAMPLES], "architecture=dcgan", "samples=... have no network"),
    (["evaluate", *SAMPLES], "evaluation.average=false", "samples=... have no network"),
    (["evaluate", *SAMPLES], "name=mine", "nothing is trained here"),
    (["memorisation", "run=run"], "devices=2", "saddlepoint train uses it"),
    (["memorisation", "run=run"], "evaluation.n=50", "n=..."),
    (["memorisation", "run=run"], "evaluation.average=false", "here it is average=false"),
    (["memorisation", "run=run"], "seed=3", "sample_seed=3"),
    (["memorisation", *SAMPLES], "at=best", "samples=... are already drawn"),
    (["memorisation", *SAMPLES], "average=false", "samples=... are already drawn"),
    (["memorisation", *SAMPLES], "prior.z.dim=3", "samples=... have no network"),
    (["export", "run=run"], "devices=2", "saddlepoint train uses it"),
    (["export", "run=run"], "logger=none", "saddlepoint train uses it"),
    (IMPORT, "devices=2", "saddlepoint train uses it"),
    (IMPORT, "images=200", "evaluation.n"),
    (IMPORT, "architecture=mlp", "samples=... have no network"),
    (["train", "logger=none"], "launcher.processes=2", "saddlepoint train -m uses it"),
    (["train", "logger=none"], "launcher=submitit", "saddlepoint train -m uses it"),
]  # fmt: skip


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    run(folder, "metric=[]", "images=128").folder.rename(folder / "run")
    (folder / "samples.npz").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("words", "override", "reader"), UNREAD, ids=[f"{words[0]} {override}" for words, override, _ in UNREAD]
)
def test_an_unused_override_is_refused_with_the_command_that_uses_it(
    words: list[str],
    override: str,
    reader: str,
    location: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(location)
    before = sorted(location.rglob("*"))
    assert main([*words, override]) == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert override.lstrip("+").partition("=")[0].split(".")[0] in message
    assert reader in message
    assert sorted(location.rglob("*")) == before


TWICE = [
    ["train", "seed=1", "seed=2"],
    ["train", "optimizer.generator.lr=1e-4", "batch=32", "optimizer.generator.lr=1e-3"],
    ["train", "objective=hinge", "objective=minimax"],
    ["train", "-m", "seed=0,1", "batch=32", "batch=64"],
    ["train", "-m", "seed=0", "seed=1,2"],
    ["sample", "run=a", "n=4", "n=5"],
    ["evaluate", "run=a", "run=b"],
    ["evaluate", "run=a", "evaluation.n=50", "evaluation.n=60"],
    ["compare", "runs=a", "runs=b"],
    ["sweep", "sweep=digits", "sweep=other"],
]


@pytest.mark.parametrize("words", TWICE, ids=" ".join)
def test_the_last_of_two_values_counts_and_the_first_is_reported(words: list[str]) -> None:
    last = words[-1]
    first = next(override for override in words[1:] if override.partition("=")[0] == last.partition("=")[0])
    assert list(describe_shadowed_overrides(words[1:])) == [f"{first} has no effect: {last} comes after it"]


def test_the_message_is_printed_and_the_config_has_the_last_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "seed=1", "seed=2", "--cfg", "job"]) == 0
    printed = capsys.readouterr()
    assert "saddlepoint: seed=1 has no effect: seed=2 comes after it" in printed.err
    assert "\nseed: 2\n" in printed.out


@pytest.mark.parametrize("override", ["optimizer.generator.lr=0.0001", "optimizer.generator.lr=1e-4"])
def test_the_same_value_twice_is_no_error(override: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "optimizer.generator.lr=1e-4", override, "--cfg", "job"]) == 0


def test_options_can_be_added_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "+regularizer=r1", "+regularizer=r2", "--cfg", "job"]) == 0


def test_an_experiment_can_set_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nlauncher: {processes: 2}\nbatch: 32\nimages: 64\n")
    monkeypatch.chdir(tmp_path)
    small = ["logger=none", "metric=[]", "architecture.generator.widths=[8]"]
    assert main(["train", "--config-dir", "conf", "experiment=mine", *small]) == 0


@pytest.mark.parametrize("override", ["cache=c", "device=cpu", "threads=1", "data.batch=32"])
def test_every_command_accepts_locations_and_devices(
    override: str, location: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(location)
    assert main(["sample", "run=run", "n=4", f"to={tmp_path}/x.png", override]) == 0
