"""saddlepoint compare and saddlepoint why on the command line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from folders import KEY, arm, run

from saddlepoint.cli import main

DISABLED = "logger.mode=disabled"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two objectives with five seeds each, in the folder `outputs` of the working directory."""
    monkeypatch.chdir(tmp_path)
    arm(tmp_path / "outputs", "nonsaturating", [10.0, 11.0, 12.5, 10.5, 11.5])
    arm(tmp_path / "outputs", "hinge", [7.0, 8.0, 9.5, 7.5, 8.5])
    return tmp_path / "outputs"


def test_one_command_compares_and_writes_a_report(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["runs=outputs/*", "by=objective", f"metric={KEY}", "baseline=nonsaturating", DISABLED]
    assert main(["compare", *words]) == 0
    printed = capsys.readouterr().out
    assert "2 arms by objective; 10 runs found: 10 finished; each of 1,000 images." in printed
    assert "differs" in printed
    (to,) = outputs.glob("comparison-????????")
    assert {path.name for path in to.iterdir()} == {
        "curves.png", "report.html", "runs.csv", "seeds.png", "table.csv", "table.md", "table.tex",
    }  # fmt: skip
    assert main(["compare", *words]) == 0, "a former comparison lies there, and is no run"
    assert list(outputs.glob("comparison-*")) == [to]
    assert main(["compare", *words, "level=0.01"]) == 0
    assert len(list(outputs.glob("comparison-*"))) == 2, "another question, another folder"


def test_the_report_is_a_tracked_run_of_its_own_kind(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["compare", "by=objective", "to=report"]) == 0
    assert "wandb sync report/wandb/offline-run-" in capsys.readouterr().err
    (saved,) = Path("report/wandb").glob("offline-run-*")
    until = time.monotonic() + 60
    while not (is_written := any(b"comparison" in path.read_bytes() for path in saved.glob("*.wandb"))):
        assert time.monotonic() < until
        time.sleep(0.1)  # W&B's own process writes it, and may still do so when the run has ended
    assert is_written
    there = {path.suffix for path in (saved / "files" / "media").rglob("*.*")}
    assert there == {".png", ".html", ".json"}


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["runs=elsewhere/*"], "no run in runs=elsewhere/*: looked for <name>/seed<k>/config.yaml"),
        (["metric=fid_digit_900_train"], f"Did you mean {KEY}"),
        (["by=objective", "baseline=nonsaturatin"], "Did you mean nonsaturating"),
        (["by=objectives"], "Did you mean objective"),
        (["level=5"], "level=5: it lies between 0 and 1"),
        (["level=low"], "level=low: it lies between 0 and 1"),
        (["reach=soon"], "reach=soon: a score"),
        (["factorial=maybe"], "factorial=maybe: true or false"),
        (["runs=[]"], "no runs were given"),
        (["runs=5"], "no run in runs=5"),
        (["by=objective", "baseline=0.5"], "baseline=0.5: no arm has this name"),
        (["by=objective", "baseline=true"], "baseline=true: no arm has this name"),
        (["metrics=fid"], "here it is metric=fid"),
        (["logger=wandbb"], "no such logger: wandbb. Did you mean wandb"),
        (["logger.mode=on"], "logger.mode=on: choose one of auto"),
        (["tuning=true"], "needs the keys that the searches varied"),
    ],
)
def test_bad_input_gives_one_line_and_writes_nothing(
    outputs: Path, words: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *([] if "logger" in words[0] else [DISABLED]), *words]) == 1
    assert printed in capsys.readouterr().err
    assert not list(outputs.glob("comparison-*"))
    assert not list(outputs.glob(".comparison-*"))


def test_a_folder_with_other_files_is_not_overwritten(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", DISABLED, "to=outputs"]) == 1
    assert "holds no comparison" in capsys.readouterr().err
    assert len(list(outputs.glob("*/seed*"))) == 10


def test_missing_seeds_failures_and_broken_lines_are_reported(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(outputs, "hinge", 5, None, status="diverged", summary={"error": "generator/adversarial is nan"})
    run(outputs, "hinge", 6, None, status=None)
    (outputs / "hinge" / "seed0" / "metrics.jsonl").write_text("{")
    assert main(["compare", DISABLED, "by=objective", "to=report"]) == 0
    printed = capsys.readouterr().out
    for line in (
        "seed5: diverged (generator/adversarial is nan)",
        "seed6: unfinished (without a summary)",
        "objective=nonsaturating lacks seeds 5, 6.",
        "hinge/seed0/metrics.jsonl: 1 unreadable line",
        "2/7",
        "survivors only",
    ):
        assert line in printed
    page = Path("report/report.html").read_text()
    assert "seed5: diverged" in page


def test_why_prints_the_differences_and_where_curves_diverge(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", f"a={outputs}/hinge/seed0", f"b={outputs}/nonsaturating/seed0"]) == 0
    printed = capsys.readouterr().out
    assert "choice.objective: hinge -> nonsaturating" in printed
    assert f"part at 1,000 images, equal before, at 2 points: {KEY} is 7 in a and 10 in b" in printed
    assert main(["why", f"a={outputs}/hinge/seed0"]) == 1
    assert main(["why", "a=1", "b=2"]) == 1
    assert "1 is not a run folder" in capsys.readouterr().err
    assert main(["why", f"a={outputs}/hinge/seed0", "b=nowhere"]) == 1
    assert "nowhere is not a run folder" in capsys.readouterr().err


def test_commands_that_read_folders_need_no_torch(checkout: Path) -> None:
    code = "import sys, saddlepoint.cli.compare, saddlepoint.cli.why; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=checkout)
    assert done.stdout.strip() == "False", done.stderr
