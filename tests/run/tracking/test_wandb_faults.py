"""No fault of W&B affects a training: neither an error nor a delay, until its end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.background_worker import BackgroundWorker, error_summary
from saddlepoint.run.tracking.tracker import Tracker
from saddlepoint.run.tracking.wandb_session import WandbSession, kill_wandb_service, wandb_run_folders

CALLS = ("define_metric", "log", "alert", "log_artifact", "finish")


class Wandb:
    """A fake W&B run that records its calls, and fails or hangs in a chosen one."""

    def __init__(self, folder: Path, failing: str = "", action: Callable[[], object] | None = None) -> None:
        self.dir, self.offline, self.url, self.asked = str(folder / "files"), failing == "", "http://x/y", []
        self.axes: list[Any] = []
        self.summary = SimpleNamespace(update=self._made("summary", failing, action))
        for name in CALLS:
            setattr(self, name, self._made(name, failing, action))

    def _made(self, name: str, failing: str, action: Callable[[], object] | None) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            self.asked.append(name)
            self.axes += [(*args, *kwargs.values())] if name == "define_metric" else []
            if name == failing and action is not None:
                action()

        return call


def failure() -> None:
    raise OSError("no route to host\nand much more")


def test_the_exit_of_the_wandb_process_does_not_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb.teardown calls sys.exit if its process was killed, and kill_wandb_service kills it."""
    killed: list[int] = []
    process = SimpleNamespace(kill=lambda: killed.append(1))
    service = SimpleNamespace(_proc=SimpleNamespace(_process=process))
    monkeypatch.setattr("wandb.setup", lambda: SimpleNamespace(assert_service=lambda: service))
    monkeypatch.setattr("wandb.teardown", lambda: sys.exit(-9))
    kill_wandb_service()
    assert killed == [1]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Wandb, list[str], str]]:
    """Return a function that logs a run to a fake W&B run; it gives the fake, the messages and the whereabouts."""

    def played(failing: str = "", action: Callable[[], object] | None = failure, timeout: float = 5.0) -> Any:
        ours, messages = Wandb(tmp_path, failing, action), []
        monkeypatch.setattr(WandbSession, "start_run", lambda *_: ours if failing != "init" else failure())
        monkeypatch.setattr("wandb.Image", lambda path: failure() if failing == "image" else path)
        monkeypatch.setattr("wandb.Artifact", lambda *_, **__: SimpleNamespace(add_file=print))
        checkpoint = tmp_path / "last.ckpt"
        checkpoint.write_bytes(b"x")
        tracker = Tracker("online", timeout=timeout)
        tracker.start(Run(tmp_path), {}, messages.append)
        tracker.log_metrics({"loss": 1.0}, 64)
        tracker.log_image("samples", checkpoint, 64)
        tracker.alert("title", "text")
        tracker.log_metrics({"loss": 2.0}, 128)
        tracker.close({"status": "finished"}, checkpoint, failed=False)
        return ours, messages, tracker.whereabouts

    return played


EVERY = ["define_metric", "define_metric", "log", "log", "alert", "log", "summary"]


def test_a_run_logs_everything_to_wandb_in_order(play: Callable[..., Any]) -> None:
    ours, messages, location = play()
    assert ours.asked == [*EVERY, "finish"], "no artifact in an offline run"
    assert ours.axes == [("images",), ("*", "images")], "everything is plotted over images"
    assert messages == []
    assert location.startswith("W&B: offline; to upload it: wandb sync ")


@pytest.mark.parametrize("failing", ["log", "image", "alert", "summary", "log_artifact"])
def test_a_failing_call_is_logged_once_and_the_others_are_made(play: Callable[..., Any], failing: str) -> None:
    ours, messages, location = play(failing)
    made = [name for name in (*EVERY, "log_artifact", "finish") if name != failing]
    lost = 1 if failing == "image" else 0  # an image that cannot be made is not logged
    assert [name for name in ours.asked if name != failing] == [*made[:2], *made[2 + lost :]]
    assert messages == ["W&B: no route to host; the run continues without it"]
    assert location == "W&B: http://x/y"


def test_a_run_whose_start_fails_is_not_tracked(play: Callable[..., Any]) -> None:
    ours, messages, location = play("init")
    assert ours.asked == []
    assert messages == ["W&B: no route to host; the run continues without it"]
    assert location == "W&B: not tracked"


def late() -> None:
    raise TimeoutError("Timed out finishing run.")


def test_data_that_the_server_did_not_receive_in_time_are_reported_with_the_upload_command(
    play: Callable[..., Any],
) -> None:
    _, messages, location = play("finish", late)
    assert messages == []
    assert location.startswith("W&B: http://x/y, but not all of it; to upload the rest: wandb sync ")


@pytest.mark.parametrize("hanging", ["define_metric", "log", "alert", "log_artifact", "finish"])
def test_a_call_that_never_returns_delays_the_end_by_a_limited_time(
    play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    monkeypatch.setattr("saddlepoint.run.tracking.tracker.GRACE", 0.1)
    monkeypatch.setattr(
        "saddlepoint.run.tracking.tracker.kill_wandb_service", list
    )  # other tests use the process of W&B too
    free, began = threading.Event(), time.monotonic()
    _, _, location = play(hanging, lambda: free.wait(60), 0.05)
    free.set()
    assert time.monotonic() - began < 5
    assert location == "W&B did not finish in time; the data of this run are in wandb/ in the run folder"


# ---------------------------------------------------------------------------------------------------- the courier


def test_submitting_a_call_does_not_wait_for_it() -> None:
    free, made = threading.Event(), []
    worker = BackgroundWorker("x", print)
    worker.submit(free.wait)
    for i in range(1000):
        worker.submit(lambda i=i: made.append(i))
    assert made == [], "the first call has not returned"
    free.set()
    assert worker.finish(10)
    assert made == list(range(1000))


def test_calls_beyond_the_queue_size_are_dropped_with_a_message() -> None:
    free, busy, made, messages = threading.Event(), threading.Event(), [], []
    worker = BackgroundWorker("x", messages.append, max_waiting=3)
    worker.submit(lambda: (busy.set(), free.wait()))
    assert busy.wait(10)
    for i in range(9):
        worker.submit(lambda i=i: made.append(i))
    assert not worker.finish(0.05), "the queue has no space for the end marker"
    free.set()
    assert worker.finish(10)
    assert made == [0, 1, 2]
    assert messages == ["x does not keep up; some of its data are left out"]


def test_a_system_exit_in_the_worker_thread_is_a_failure() -> None:
    made, messages = [], []
    worker = BackgroundWorker("x", messages.append)
    worker.submit(lambda: exec("raise SystemExit"))
    worker.submit(lambda: made.append(1))
    assert worker.finish(10)
    assert (made, messages) == ([1], ["x: SystemExit; the run continues without it"])


def test_an_error_summary_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary0123456789")
    assert error_summary(ValueError("bad key canary0123456789\nTraceback")) == "bad key <WANDB_API_KEY>"
    assert error_summary(ValueError("  \n")) == "ValueError"
    assert len(error_summary(ValueError("x" * 500))) == 100


# ------------------------------------------------------------------------------------------------------ the session


def test_a_run_that_falls_back_to_offline_keeps_its_id_and_no_files_of_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "wandb" / "run-1-abc"
    old.mkdir(parents=True)
    calls, messages = [], []

    def init(mode: str, **arguments: Any) -> str:
        calls.append((mode, arguments["id"]))
        if mode == "online":
            (tmp_path / "wandb" / "run-2-abc").mkdir()
            failure()
        assert wandb_run_folders(tmp_path) == {old}
        return "the run"

    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setattr("wandb.teardown", lambda: calls.append("teardown"))
    assert WandbSession("online").start_run(tmp_path, {}, {"id": "abc"}, messages.append) == "the run"
    assert calls == [("online", "abc"), "teardown", ("offline", "abc")]
    assert messages == ["W&B cannot be reached (no route to host); this run is tracked offline"]


def test_a_comparison_that_wandb_rejects_gives_a_message_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WandbSession, "start_run", lambda *_: Wandb(tmp_path, "log", failure))
    message = WandbSession("online").log_comparison(tmp_path, {}, {}, print)
    assert message == "W&B: no route to host; the report was not logged"
