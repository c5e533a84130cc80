"""Signals end a training properly, also if its output is closed or on a full disk: the record is right."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.console import standard_streams
from saddlepoint.error import Mistake, Stopped
from saddlepoint.experiment import fit, run_record, train
from saddlepoint.game.game import Game
from saddlepoint.run.folder import Run

TINY = ["data=gaussians", "data.number=500", "evaluation.extractor=null", "batch=64", "logger=none", "name=run",
        "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]", "images=640", "threads=1",
        "callback=[finite,checkpoint,journal,progress]", "callback.progress.seconds_between=1e-6"]  # fmt: skip
ENDINGS = {"SIGHUP": 129, "SIGINT": 130, "SIGQUIT": 131, "SIGTERM": 143, "SIGUSR1": 143, "SIGUSR2": 143, "SIGXCPU": 152}


@pytest.fixture
def at_images(monkeypatch: pytest.MonkeyPatch):
    """Call a function once the game has shown so many images."""

    def prepared(images: int, act) -> None:
        played = Game.round

        def after(game: Game, batch) -> None:
            played(game, batch)
            if game.images == images:
                act()

        monkeypatch.setattr(Game, "round", after)

    return prepared


def trained(folder: Path, *words: str) -> Run:
    return train.train(compose([*TINY, f"outputs={folder}", *words]))


def summary(folder: Path) -> dict:
    return Run(folder / "run" / "seed0").summary


def send(name: str) -> None:
    os.kill(os.getpid(), signal.Signals[name])


@pytest.mark.parametrize(("name", "code"), ENDINGS.items())
def test_an_ending_signal_saves_the_run_and_has_its_own_exit_code(
    tmp_path: Path, at_images, name: str, code: int
) -> None:
    before = signal.getsignal(signal.Signals[name])
    at_images(128, lambda: send(name))
    with pytest.raises(Stopped) as stop:
        trained(tmp_path)
    assert stop.value.exit == code
    message = summary(tmp_path)
    assert (message["status"], message["exit"], message["error"]) == ("interrupted", code, f"stopped by {name}")
    assert message["images"] == 128
    assert (tmp_path / "run" / "seed0" / "checkpoints" / "last.ckpt").exists()
    assert signal.getsignal(signal.Signals[name]) == before


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_an_ignored_signal_stays_ignored(tmp_path: Path, at_images, name: str) -> None:
    before = signal.signal(signal.Signals[name], signal.SIG_IGN)
    at_images(128, lambda: send(name))
    try:
        assert trained(tmp_path).summary["status"] == "finished"
        assert signal.getsignal(signal.Signals[name]) == signal.SIG_IGN
    finally:
        signal.signal(signal.Signals[name], before)


def test_two_signals_at_once_count_as_one(tmp_path: Path, at_images) -> None:
    at_images(128, lambda: (send("SIGTERM"), send("SIGHUP")))
    with pytest.raises(Stopped, match="SIGTERM"):
        trained(tmp_path)
    assert (summary(tmp_path)["exit"], summary(tmp_path)["images"]) == (143, 128)


@pytest.mark.parametrize("moment", ["rewind_and_write_initial_files", "_measure_final_scores"])
def test_a_signal_before_the_first_round_or_in_the_final_evaluation_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    original = getattr(fit, moment)
    monkeypatch.setattr(fit, moment, lambda *rest: (original(*rest), send("SIGHUP"))[0])
    with pytest.raises(Stopped):
        trained(tmp_path)
    message = summary(tmp_path)
    assert (message["status"], message["exit"], message["error"]) == ("interrupted", 129, "stopped by SIGHUP")
    monkeypatch.undo()
    assert trained(tmp_path).summary["status"] == "finished"


def test_a_signal_while_the_end_is_recorded_leaves_the_run_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = run_record._peak_memory
    monkeypatch.setattr(run_record, "_peak_memory", lambda: (send("SIGTERM"), original())[1])
    assert trained(tmp_path).summary["status"] == "finished"


def test_a_signal_while_wandb_finishes_abandons_only_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from saddlepoint.run.tracking import tracker

    given_up = []
    monkeypatch.setattr(tracker.BackgroundWorker, "finish", lambda *_: send("SIGINT") or time.sleep(5))
    monkeypatch.setattr(tracker, "kill_wandb_service", lambda: given_up.append(True))
    assert trained(tmp_path, "logger=wandb", "logger.mode=offline").summary["status"] == "finished"
    assert given_up == [True]


def test_code_that_calls_exit_counts_as_failed(tmp_path: Path, at_images) -> None:
    at_images(128, lambda: sys.exit(3))
    with pytest.raises(SystemExit):
        trained(tmp_path)
    assert (summary(tmp_path)["status"], summary(tmp_path)["exit"]) == ("failed", 1)


class Broken:
    """A text stream to a pipe without a reader, or to a full device."""

    def __init__(self, path: str = "") -> None:
        if path:
            self.file = open(path, "w", buffering=1)  # noqa: SIM115  it stays open, as a stream does
        else:
            read, write = os.pipe()
            os.close(read)
            self.file = os.fdopen(write, "w", buffering=1)


@pytest.mark.parametrize("path", ["", "/dev/full"])
@pytest.mark.parametrize("both", [False, True])
def test_a_training_without_readable_output_runs_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, both: bool
) -> None:
    monkeypatch.setattr("sys.stderr", Broken(path).file)
    if both:
        monkeypatch.setattr("sys.stdout", Broken(path).file)
    assert main(["train", *TINY, f"outputs={tmp_path}"]) == 0
    assert summary(tmp_path)["status"] == "finished"


@pytest.mark.parametrize(
    ("path", "code", "printed"), [("", 141, ""), ("/dev/full", 1, "cannot write to standard output")]
)
def test_a_command_with_a_result_fails_if_stdout_cannot_be_written(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: str, code: int, printed: str
) -> None:
    monkeypatch.setattr("sys.stdout", Broken(path).file)
    assert main(["train", "--cfg", "job"]) == code
    assert printed in capfd.readouterr().err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_not_reused_by_later_files(tmp_path: Path, closed: str) -> None:
    code = """
        import os, sys
        from saddlepoint.cli import run_and_report
        def run():
            file = open(sys.argv[1], "w")
            assert file.fileno() > 2, file.fileno()
            print("out"), print("err", file=sys.stderr), os.write(1, b"raw"), os.write(2, b"raw")
            file.write("kept")
            file.close()
            return 0
        sys.exit(run_and_report(run, []))
    """
    (tmp_path / "code.py").write_text(textwrap.dedent(code))
    line = f'"{sys.executable}" code.py file {closed}'
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, (tmp_path / "file").read_text()) == (0, "kept"), done.stderr


def test_a_failed_write_of_rich_to_stdout_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr("sys.stdout", Broken().file)
    with standard_streams.raise_write_errors(), pytest.raises(Mistake) as refused:
        Console().print("a table")
    assert refused.value.exit == 141


def test_a_reader_that_closes_after_one_line_does_not_end_the_process(tmp_path: Path) -> None:
    """Runs the command in a shell."""
    words = " ".join(f"'{override}'" for override in [*TINY, f"outputs={tmp_path}"])
    line = f'"{sys.executable}" -m saddlepoint train {words} <&- 2>&1 | head -1; exit ${{PIPESTATUS[0]}}'
    assert subprocess.run(["bash", "-c", line], stdout=subprocess.DEVNULL, timeout=120).returncode == 0
    result = summary(tmp_path)
    assert (result["status"], result["exit"]) == ("finished", 0)
