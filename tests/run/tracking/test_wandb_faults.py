"""Nothing that W&B does, or does not do, reaches a training: neither an error nor a wait, until its end."""

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
    """A W&B run that notes what it is asked, and fails, or hangs, where it is told to."""

    def __init__(self, folder: Path, failing: str = "", how: Callable[[], object] | None = None) -> None:
        self.dir, self.offline, self.url, self.asked = str(folder / "files"), failing == "", "http://x/y", []
        self.axes: list[Any] = []
        self.summary = SimpleNamespace(update=self._made("summary", failing, how))
        for name in CALLS:
            setattr(self, name, self._made(name, failing, how))

    def _made(self, name: str, failing: str, how: Callable[[], object] | None) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            self.asked.append(name)
            self.axes += [(*args, *kwargs.values())] if name == "define_metric" else []
            if name == failing and how is not None:
                how()

        return call


def failure() -> None:
    raise OSError("no route to host\nand much more")


def test_an_end_of_w_and_bs_own_process_is_not_that_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb.teardown ends with sys.exit where its process was killed, and abandon is what kills it."""
    killed: list[int] = []
    process = SimpleNamespace(kill=lambda: killed.append(1))
    service = SimpleNamespace(_proc=SimpleNamespace(_process=process))
    monkeypatch.setattr("wandb.setup", lambda: SimpleNamespace(assert_service=lambda: service))
    monkeypatch.setattr("wandb.teardown", lambda: sys.exit(-9))
    kill_wandb_service()
    assert killed == [1]


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Wandb, list[str], str]]:
    """Plays a run's every word to a W&B run of ours: what it was asked, what people heard, and where the run is."""

    def played(failing: str = "", how: Callable[[], object] | None = failure, timeout: float = 5.0) -> Any:
        ours, said = Wandb(tmp_path, failing, how), []
        monkeypatch.setattr(WandbSession, "begun", lambda *_: ours if failing != "init" else failure())
        monkeypatch.setattr("wandb.Image", lambda path: failure() if failing == "image" else path)
        monkeypatch.setattr("wandb.Artifact", lambda *_, **__: SimpleNamespace(add_file=print))
        checkpoint = tmp_path / "last.ckpt"
        checkpoint.write_bytes(b"x")
        tracker = Tracker("online", timeout=timeout)
        tracker.start(Run(tmp_path), {}, said.append)
        tracker.log_metrics({"loss": 1.0}, 64)
        tracker.log_image("samples", checkpoint, 64)
        tracker.alert("title", "text")
        tracker.log_metrics({"loss": 2.0}, 128)
        tracker.close({"status": "finished"}, checkpoint, failed=False)
        return ours, said, tracker.whereabouts

    return played


EVERY = ["define_metric", "define_metric", "log", "log", "alert", "log", "summary"]


def test_a_run_tells_w_and_b_everything_in_its_order(tracked: Callable[..., Any]) -> None:
    ours, said, where = tracked()
    assert ours.asked == [*EVERY, "finish"], "no artifact: nobody takes it offline"
    assert ours.axes == [("images",), ("*", "images")], "everything is drawn over images"
    assert said == []
    assert where.startswith("W&B: offline; to send it up: wandb sync ")


@pytest.mark.parametrize("failing", ["log", "image", "alert", "summary", "log_artifact"])
def test_a_call_that_fails_is_said_once_and_the_others_are_made(tracked: Callable[..., Any], failing: str) -> None:
    ours, said, where = tracked(failing)
    made = [name for name in (*EVERY, "log_artifact", "finish") if name != failing]
    lost = 1 if failing == "image" else 0  # a picture that cannot be made is not logged
    assert [name for name in ours.asked if name != failing] == [*made[:2], *made[2 + lost :]]
    assert said == ["W&B: no route to host; the run goes on without it"]
    assert where == "W&B: http://x/y"


def test_a_start_that_fails_leaves_a_run_that_is_not_tracked(tracked: Callable[..., Any]) -> None:
    ours, said, where = tracked("init")
    assert ours.asked == []
    assert said == ["W&B: no route to host; the run goes on without it"]
    assert where == "W&B: not tracked"


def late() -> None:
    raise TimeoutError("Timed out finishing run.")


def test_what_a_server_did_not_take_in_time_is_said_with_the_way_to_send_it(tracked: Callable[..., Any]) -> None:
    _, said, where = tracked("finish", late)
    assert said == []
    assert where.startswith("W&B: http://x/y, but not all of it; to send up the rest: wandb sync ")


@pytest.mark.parametrize("hanging", ["define_metric", "log", "alert", "log_artifact", "finish"])
def test_a_call_that_never_returns_ends_with_the_patience_of_the_end(
    tracked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    monkeypatch.setattr("saddlepoint.run.tracking.tracker.GRACE", 0.1)
    monkeypatch.setattr(
        "saddlepoint.run.tracking.tracker.kill_wandb_service", list
    )  # other tests have W&B's process too
    free, began = threading.Event(), time.monotonic()
    _, _, where = tracked(hanging, lambda: free.wait(60), 0.05)
    free.set()
    assert time.monotonic() - began < 5
    assert where == "W&B: it did not end in time; what it has of this run is in wandb/ in the run's folder"


# ---------------------------------------------------------------------------------------------------- the courier


def test_who_hands_a_call_over_does_not_wait_for_it() -> None:
    free, made = threading.Event(), []
    courier = BackgroundWorker("x", print)
    courier.submit(free.wait)
    for i in range(1000):
        courier.submit(lambda i=i: made.append(i))
    assert made == [], "the first call has not returned"
    free.set()
    assert courier.finish(10)
    assert made == list(range(1000))


def test_more_calls_than_can_wait_are_left_out_with_a_word() -> None:
    free, busy, made, said = threading.Event(), threading.Event(), [], []
    courier = BackgroundWorker("x", said.append, max_waiting=3)
    courier.submit(lambda: (busy.set(), free.wait()))
    assert busy.wait(10)
    for i in range(9):
        courier.submit(lambda i=i: made.append(i))
    assert not courier.finish(0.05), "there is no room to say that this was all"
    free.set()
    assert courier.finish(10)
    assert made == [0, 1, 2]
    assert said == ["x does not keep up; what it cannot take is left out there"]


def test_an_exit_in_the_couriers_thread_is_a_failure_among_others() -> None:
    made, said = [], []
    courier = BackgroundWorker("x", said.append)
    courier.submit(lambda: exec("raise SystemExit"))
    courier.submit(lambda: made.append(1))
    assert courier.finish(10)
    assert (made, said) == ([1], ["x: SystemExit; the run goes on without it"])


def test_a_reason_is_a_line_that_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary0123456789")
    assert error_summary(ValueError("bad key canary0123456789\nTraceback")) == "bad key <WANDB_API_KEY>"
    assert error_summary(ValueError("  \n")) == "ValueError"
    assert len(error_summary(ValueError("x" * 500))) == 100


# ------------------------------------------------------------------------------------------------------ the session


def test_a_run_that_falls_back_keeps_its_id_and_nothing_of_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "wandb" / "run-1-abc"
    old.mkdir(parents=True)
    asked, said = [], []

    def init(mode: str, **told: Any) -> str:
        asked.append((mode, told["id"]))
        if mode == "online":
            (tmp_path / "wandb" / "run-2-abc").mkdir()
            failure()
        assert wandb_run_folders(tmp_path) == {old}
        return "the run"

    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setattr("wandb.teardown", lambda: asked.append("teardown"))
    assert WandbSession("online").start_run(tmp_path, {}, {"id": "abc"}, said.append) == "the run"
    assert asked == [("online", "abc"), "teardown", ("offline", "abc")]
    assert said == ["W&B cannot be reached (no route to host); this run is tracked offline"]


def test_a_report_that_w_and_b_does_not_take_is_a_word_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WandbSession, "begun", lambda *_: Wandb(tmp_path, "log", failure))
    told = WandbSession("online").log_comparison(tmp_path, {}, {}, print)
    assert told == "W&B: no route to host; the report is not there"
