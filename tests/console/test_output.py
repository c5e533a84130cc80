"""Only a command's result is on stdout; with --json, or to=-, it is one JSON document."""

from __future__ import annotations

import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from folders import arm
from rich.console import Console
from runs import SMALL, run

from saddlepoint.cli import main
from saddlepoint.console import terminal
from saddlepoint.console.output import Output, to_json_value
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.evaluation import evaluator
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.evaluation.score_table import Column, fit_tables, score_tables, small_anchor_notes

FID = "fid_digits_900_train"
QUICK = ["metric=[frechet_distance]", "evaluation.second_extractor=null"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    return run(tmp_path_factory.mktemp("outputs"), "name=small").folder


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms of five fabricated runs."""
    there = tmp_path_factory.mktemp("arms")
    arm(there, "nonsaturating", [10.0, 11.0, 12.5, 10.5, 11.5])
    arm(there, "hinge", [7.0, 8.0, 9.5, 7.5, 8.5])
    return there


def lines_of(folder: Path, outputs: Path) -> dict[str, tuple[list[str], str, str]]:
    """Return for each command its arguments, a text of its result and a key of its document."""
    one, other = outputs / "hinge/seed0", outputs / "nonsaturating/seed0"
    compared = ["compare", f"runs={outputs}/*", "by=objective", "logger.mode=disabled"]
    trained = ["train", *SMALL, "name=small", f"outputs={folder.parents[1]}"]
    return {
        "evaluate": (["evaluate", f"run={folder}", *QUICK], FID, "1280"),
        "evaluate at=all": (["evaluate", f"run={folder}", "at=all", *QUICK], "every snapshot", "1280"),
        "evaluate against": (["evaluate", f"run={folder}", f"against={folder}", *QUICK], "under one protocol", "steps"),
        "compare": (compared, "differs", "arms"),
        "why": (["why", f"a={one}", f"b={other}"], "choice.objective: hinge -> nonsaturating", "differences"),
        "memorisation": (["memorisation", f"run={folder}", "n=60"], "authenticity", "statistics"),
        "train": (trained, FID, "final"),
        "doctor": (["doctor", f"outputs={outputs}"], "classifiers", "findings"),
    }  # fmt: skip


NAMES = ("evaluate", "evaluate at=all", "evaluate against", "compare", "why", "memorisation", "train", "doctor")


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_on_stdout_and_fits_80_columns(
    name: str, folder: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    line, printed, _ = lines_of(folder, outputs)[name]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert printed in out
    assert "…" not in out
    table = [row for row in out.splitlines() if "─" in row]
    assert all(len(row) <= 80 for row in table)


@pytest.mark.parametrize("name", NAMES)
def test_with_json_stdout_holds_one_document_and_nothing_else(
    name: str, folder: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    line, _, key = lines_of(folder, outputs)[name]
    assert main([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert key in document


@pytest.mark.parametrize("name", ["evaluate", "compare", "memorisation"])
def test_to_hyphen_prints_the_document_and_writes_no_file(
    name: str, folder: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    line, _, key = lines_of(folder, outputs)[name]
    assert main([*line, "to=-"]) == 0
    assert key in json.loads(capsys.readouterr().out)
    assert not list(tmp_path.iterdir())


def test_many_runs_end_with_a_table_of_their_states(folder: Path, capsys) -> None:
    run(folder.parents[1], "name=small", "seed=1")
    line = ["train", "-m", *SMALL, "name=small", f"outputs={folder.parents[1]}", "seed=0,1"]
    assert main([*line, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["runs"]
    assert [one["label"] for one in result] == ["seed=0", "seed=1"]
    assert {one["status"] for one in result} == {"finished"}
    assert FID in result[1]["final"]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "seed=1" in out
    assert FID in out


def test_other_prints_on_stdout_do_not_mix_with_the_document(capsys) -> None:
    output = Output(json=True)
    with output.as_current():
        print("a library's banner")
        output.print_result(["for people"], {"value": float("nan"), "inf": (float("inf"), 1.5), "path": Path("a/b")})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"value": None, "inf": [None, 1.5], "path": "a/b"}
    assert "banner" in err
    assert sys.stdout is not sys.stderr


def test_json_is_refused_for_commands_without_a_result(capsys) -> None:
    assert main(["sample", "--json"]) == 2
    assert "--json is for commands that print a result: train, evaluate" in capsys.readouterr().err


def contract(metric: str) -> Contract:
    hashes = {"data": "0" * 64, "extractor_sha256": "1" * 64}
    return Contract(metric=metric, n_real=100_000, n_fake=2500, split="train", resolution="2", resizer="none",
                    extractor="identity", weights="averaged", seed=0, **hashes)  # fmt: skip


def test_names_are_never_cut_and_there_are_at_most_two_tables() -> None:
    names = ["modes_captured", "modes_high_quality", "modes_reverse_kl", "frechet_distance_infinity", "precision",
             "recall", "density", "coverage", "nearest_neighbour_error", "kernel_distance", "parzen"]  # fmt: skip
    result = {score.contract.score_name: score for score in (Score(1.2345, contract(name)) for name in names)}
    beside = ("real", "10 memorised", "100 memorised", "class means + noise", "perfect sampler")
    console = Console(file=(out := io.StringIO()), width=80)
    parts = [
        item for item in score_tables("samples", result, dict.fromkeys(beside, result)) if not isinstance(item, str)
    ]
    assert len(parts) <= 2
    for item in parts:
        console.print(item)
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for key in result:
        whole = key in shown
        halves = any(key[:i] in shown and key[i:] in shown for i, sign in enumerate(key, 1) if sign == "_")
        assert whole or halves, key
    for name in ("held-out", "perfect", "noise"):
        assert name in shown


def test_an_anchor_of_fewer_samples_than_the_score_is_marked() -> None:
    score = Score(13.6, contract("fid"))
    few = Score(1.2, replace(score.contract, n_fake=40))
    anchors = {"real": {few.contract.score_name: few}, "10 memorised": {score.contract.score_name: score}}
    lines = small_anchor_notes({score.contract.score_name: score}, anchors)
    assert lines == [
        "held-out reals: only 40 samples, not 2,500; distances fall with this number, so the column is no bound"
    ]


def test_a_name_is_on_one_line_if_there_is_room() -> None:
    name = "inception_score_cifar10-jpeg_120_train"
    values = [Column(heading, {name: "1.062"}) for heading in ("untrained", "final", "best")]
    anchors = [Column(heading, {name: "1.062"}) for heading in ("final", "held-out reals", "10 memorised",
               "100 memorised", "class means + noise")]  # fmt: skip
    parts = [item for item in fit_tables("score", [name], [values, anchors], 80) if not isinstance(item, str)]
    console = Console(file=(out := io.StringIO()), width=80)
    for item in parts:
        console.print(item)
    assert len(parts) == 2
    assert name in out.getvalue()


def test_a_wide_terminal_shows_one_table() -> None:
    columns = [Column("held-out reals", {"fid": "1"}), Column("± fresh generation", {"fid": "2"})]
    (table,) = fit_tables("score", ["fid"], [columns[:1], columns[1:]], 200)
    console = Console(file=(out := io.StringIO()), width=200)
    console.print(table)
    assert "held-out reals  ± fresh generation" in out.getvalue()


def test_a_document_has_only_json_values() -> None:
    assert to_json_value({1: {"a": [Path("x"), None, True, -0.5]}, "n": float("-inf")}) == {
        "1": {"a": ["x", None, True, -0.5]},
        "n": None,
    }


def test_without_a_terminal_a_long_pass_prints_a_line_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=(out := io.StringIO()), width=80)
    meter, clock = ProgressMeter(console), iter([0.0, 10.0, 25.0, 30.0, 60.0, 0.0, 25.0])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    for done in (500, 1000, 1500, 2000, 3000):
        meter("measuring samples", done, 10_000)
    meter("computing parzen", 0, 1)
    meter("computing parzen", 0, 1)
    assert out.getvalue().splitlines() == [
        "measuring samples: 1,500 of 10,000, 40/s, 4 min left",
        "measuring samples: 3,000 of 10,000, 41.7/s, 3 min left",
        "computing parzen, 25 s so far",
    ]


def test_short_passes_print_nothing_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=(out := io.StringIO()), width=80)
    meter, clock = ProgressMeter(console), iter([0.0, 1.0, 25.0, 26.0, 50.0, 51.0])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    for done in (500, 900, 500, 900, 500, 900):
        meter("measuring samples", done, 900)
    assert out.getvalue() == ""


def test_a_slow_metric_is_named_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "PROGRESS_PERIOD", 0.01)
    seen: list[str] = []
    measuring = SimpleNamespace(progress=lambda what, done, of: seen.append(f"{what} {done}/{of}"))
    slow = SimpleNamespace(results=lambda: time.sleep(0.1) or {})
    assert evaluator.Evaluator._metric_result(measuring, "parzen", slow) == {}  # pyright: ignore[reportArgumentType]
    assert seen[0] == "computing parzen 0/1"
    assert seen[-1] == "computing parzen 1/1"


def test_after_a_resume_the_score_that_was_measured_at_the_end_is_shown(tmp_path: Path) -> None:
    words = [*QUICK, "name=small", "callback.evaluation.images_between=100_000"]
    ended = run(tmp_path, *words).summary["final"][FID]["value"]
    longer = run(tmp_path, *words, "images=2560", "callback.progress.seconds_between=0.00001")
    lines = [line for line in longer.said.splitlines() if " of 2,560 images" in line]
    assert lines
    score = f"{FID} {ended:.4g} at 1,280 images"  # and not that of the untrained generator
    assert all(line.endswith(score) for line in lines[:-1])
    assert lines[-1].partition(" of ")[0] == "2,560" or lines[-1].endswith(score)
    assert "parameters: discriminator " in longer.said
