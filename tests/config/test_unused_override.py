"""What a command would not read is refused by name, with what reads it; and one key has one value."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import run

from saddlepoint.cli import main
from saddlepoint.cli.unused_override import shadowed_overrides

SAMPLES = ["samples=samples.npz", "data=digits"]
IMPORT = ["import", "from=samples.npz", "name=theirs", "data=digits"]
UNREAD = [
    (["sample", "run=run"], "devices=2", "saddlepoint train reads it"),
    (["sample", "run=run"], "optimizer.generator.lr=1", "saddlepoint train reads it"),
    (["sample", "run=run"], "optimizer=adam", "saddlepoint train reads it"),
    (["sample", "run=run"], "objective=hinge", "saddlepoint train reads it"),
    (["sample", "run=run"], "+regularizer=r1", "saddlepoint train reads it"),
    (["sample", "run=run"], "evaluation.n=50", "saddlepoint evaluate reads it"),
    (["sample", "run=run"], "metric=[coverage]", "saddlepoint evaluate reads it"),
    (["sample", "run=run"], "images=100", "at=<images>"),
    (["sample", "run=run"], "seed=3", "sample_seed=3"),
    (["sample", "run=run"], "trainer.precision=bf16", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "devices=2", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "callback=[grid]", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "logger=none", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "launcher.processes=2", "saddlepoint train -m reads it"),
    (["evaluate", "run=run"], "overwrite=true", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "resume.allow=[data]", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "compile=true", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "evaluation.selection.n=50", "saddlepoint train reads it"),
    (["evaluate", "run=run"], "generations=6", "uncertainty=true reads it"),
    (["evaluate", "run=run"], "groups=10", "uncertainty=true reads it"),
    (["evaluate", *SAMPLES], "architecture=dcgan", "there is no network"),
    (["evaluate", *SAMPLES], "evaluation.average=false", "there is no network"),
    (["evaluate", *SAMPLES], "name=mine", "nothing is trained here"),
    (["memorisation", "run=run"], "devices=2", "saddlepoint train reads it"),
    (["memorisation", "run=run"], "evaluation.n=50", "n=..."),
    (["memorisation", "run=run"], "evaluation.average=false", "here it is average=false"),
    (["memorisation", "run=run"], "seed=3", "sample_seed=3"),
    (["memorisation", *SAMPLES], "at=best", "samples=... are as they are"),
    (["memorisation", *SAMPLES], "average=false", "samples=... are as they are"),
    (["memorisation", *SAMPLES], "prior.z.dim=3", "there is no network"),
    (["export", "run=run"], "devices=2", "saddlepoint train reads it"),
    (["export", "run=run"], "logger=none", "saddlepoint train reads it"),
    (IMPORT, "devices=2", "saddlepoint train reads it"),
    (IMPORT, "images=200", "evaluation.n"),
    (IMPORT, "architecture=mlp", "there is no network"),
    (["train", "logger=none"], "launcher.processes=2", "saddlepoint train -m reads it"),
    (["train", "logger=none"], "launcher=submitit", "saddlepoint train -m reads it"),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    run(folder, "metric=[]", "images=128").folder.rename(folder / "run")
    (folder / "samples.npz").write_bytes(b"")
    return folder


@pytest.mark.parametrize(("words", "word", "reader"), UNREAD, ids=[f"{words[0]} {word}" for words, word, _ in UNREAD])
def test_what_nobody_reads_is_refused_with_what_reads_it(
    words: list[str],
    word: str,
    reader: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert main([*words, word]) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert word.lstrip("+").partition("=")[0].split(".")[0] in told
    assert reader in told
    assert sorted(place.rglob("*")) == before


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
def test_of_two_values_of_one_key_the_last_counts_and_a_line_says_so(words: list[str]) -> None:
    last = words[-1]
    first = next(word for word in words[1:] if word.partition("=")[0] == last.partition("=")[0])
    assert list(shadowed_overrides(words[1:])) == [f"{first} does not count: {last} comes after it"]


def test_the_line_stands_on_the_terminal_and_the_last_value_in_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "seed=1", "seed=2", "--cfg", "job"]) == 0
    said = capsys.readouterr()
    assert "saddlepoint: seed=1 does not count: seed=2 comes after it" in said.err
    assert "\nseed: 2\n" in said.out


@pytest.mark.parametrize("word", ["optimizer.generator.lr=0.0001", "optimizer.generator.lr=1e-4"])
def test_one_value_twice_is_no_mistake(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "optimizer.generator.lr=1e-4", word, "--cfg", "job"]) == 0


def test_pieces_are_added_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "+regularizer=r1", "+regularizer=r2", "--cfg", "job"]) == 0


def test_an_experiment_may_carry_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nlauncher: {processes: 2}\nbatch: 32\nimages: 64\n")
    monkeypatch.chdir(tmp_path)
    small = ["logger=none", "metric=[]", "architecture.generator.widths=[8]"]
    assert main(["train", "--config-dir", "conf", "experiment=mine", *small]) == 0


@pytest.mark.parametrize("word", ["cache=c", "device=cpu", "threads=1", "data.batch=32"])
def test_where_things_lie_and_run_may_be_said_to_every_command(
    word: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(place)
    assert main(["sample", "run=run", "n=4", f"to={tmp_path}/x.png", word]) == 0
