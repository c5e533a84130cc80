"""A run's W&B run: one id over all its parts, whole in its own logs, and no hindrance where the server is one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from ranked import free_port, played
from tracking import Server, children, killed, on_ranks, trained, within

from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.wandb_log import WandbRun, load_wandb_run


def local(run: Run) -> list[dict[str, Any]]:
    """metrics.jsonl, without the seconds that W&B counts for itself."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.rows()]


def assert_whole(run: Run, parts: int) -> None:
    """W&B's logs, joined, are the local record: the same rows, each once, under one id."""
    found = read(run, parts)
    assert [row for row in found.rows if "samples" not in row] == local(run)
    assert (found.id, len(found.parts)) == (run.summary["wandb_id"], parts)
    assert {row["images"] for row in found.rows if "samples" in row} == {int(p.stem) for p in grids(run)}


def read(run: Run, parts: int) -> WandbRun:
    """W&B's logs, when its own process, which writes on for a moment after the end of a run, is through with them."""

    def through() -> bool:
        try:
            found = load_wandb_run(run.folder)
        except Mistake:  # nothing is there yet
            return False
        return len(found.parts) == parts and len(found.rows) >= len(local(run)) and found.parts[-1].exit is not None

    within(10, through)
    return load_wandb_run(run.folder)


def grids(run: Run) -> list[Path]:
    return [path for path in run.samples.glob("*.png") if path.stem.isdigit()]


def test_a_run_that_stops_and_goes_on_is_one_run_in_w_and_bs_logs(tmp_path: Path) -> None:
    first = trained(tmp_path, "images=640")
    assert_whole(first, 1)
    run = trained(tmp_path, "images=1280")
    assert "W&B: offline; to send it up: wandb sync " in run.said
    assert_whole(run, 2)
    found = read(run, 2)
    assert [part.config["begun_at"] for part in found.parts] == [0, 640]
    assert [part.exit for part in found.parts] == [0, 0]
    assert found.config["provenance"]["data"]["sizes"]
    assert found.config["images"] == 1280
    assert found.config["objective"]["discriminator"]["_target_"].startswith("saddlepoint.objective.")
    assert found.summary["status"] == "finished"
    assert torch.load(run.checkpoints / "last.ckpt", weights_only=True)["wandb_id"] == found.id


def test_w_and_bs_log_does_not_name_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "canary-machine")
    monkeypatch.setattr("platform.node", lambda: "canary-machine")
    run = trained(tmp_path, "images=64")
    logs = [path for path in run.folder.rglob("*") if path.is_file() and b"canary-machine" in path.read_bytes()]
    assert not logs


def test_what_is_lost_of_w_and_bs_log_is_told_again_where_the_run_goes_on(tmp_path: Path) -> None:
    first = trained(tmp_path, "images=640")
    assert_whole(first, 1)
    (log,) = first.folder.glob("wandb/*run-*/*.wandb")
    log.write_bytes(log.read_bytes()[: int(0.8 * log.stat().st_size)])
    lost = load_wandb_run(first.folder)
    assert lost.parts[0].exit is None
    assert 0 < len([row for row in lost.rows if "samples" not in row]) < len(local(first)), (
        "some rows went, some did not"
    )
    run = trained(tmp_path, "images=1280")
    found = read(run, 2)
    assert [row for row in found.rows if "samples" not in row] == local(run)
    assert {part.id for part in found.parts} == {run.summary["wandb_id"]}


def test_a_run_that_a_w_and_b_agent_starts_has_the_agents_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "search1")
    monkeypatch.setenv("WANDB_RUN_ID", "agentsown")
    wandb.teardown()  # it reads the environment once, for all runs of a process
    try:
        run = trained(tmp_path, "images=640")
        assert run.summary["wandb_id"] == "agentsown"
        assert_whole(run, 1)
    finally:
        wandb.teardown()


@pytest.mark.slow
def test_a_run_that_was_killed_and_goes_on_is_one_run_without_a_gap(tmp_path: Path) -> None:
    child = multiprocessing.get_context("forkserver").Process(target=killed, args=(str(tmp_path), 1152))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    run = trained(tmp_path, "images=1920")
    assert "going on at 640 images" in run.said
    found = read(run, 2)
    assert [row for row in found.rows if "samples" not in row] == local(run)
    assert found.parts[-1].config["begun_at"] == 640
    assert {part.id for part in found.parts} == {run.summary["wandb_id"]}


@pytest.mark.slow
def test_two_ranks_are_one_run_of_w_and_b(tmp_path: Path) -> None:
    first, second = played(on_ranks, 2, str(tmp_path), free_port(), join=False)
    (run,) = tmp_path.glob("run/seed0")
    assert second == []
    assert first == [Run(run).summary["wandb_id"]]
    assert len(list(run.glob("wandb/*run-*"))) == 1
    assert_whole(Run(run), 1)


# ------------------------------------------------------------------------------------------------ a server's faults


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Has somebody logged in to a server of ours, which does what it is told."""
    made: list[Server] = []
    wandb.teardown()  # what it has read of the environment it keeps

    def logged_in(fault: str) -> Server:
        made.append(Server(fault))
        monkeypatch.setenv("WANDB_BASE_URL", made[0].url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setattr("wandb.apis.public.api.Api._HTTP_TIMEOUT", 1)  # WANDB_HTTP_TIMEOUT, which it has read
        monkeypatch.delenv("WANDB_MODE", raising=False)
        return made[0]

    yield logged_in
    for each in made:
        each.__exit__()
    with contextlib.suppress(OSError):  # its own process may have been killed
        wandb.teardown()


def online(folder: Path, *words: str) -> Any:
    return trained(folder, "logger.mode=online", "logger.timeout=1", "images=1280", *words)


@pytest.mark.parametrize(
    "fault", ["hang", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("refuse", "500", "401"))]
)
def test_a_server_that_does_not_begin_a_run_makes_it_an_offline_one_under_its_id(
    tmp_path: Path, server: Any, fault: str
) -> None:
    server(fault)
    run = online(tmp_path)
    assert run.summary["status"] == "finished"
    assert run.said.count("this run is tracked offline") == 1
    assert "W&B: offline; to send it up: wandb sync " in run.said
    assert_whole(run, 1)
    (kept,) = run.folder.glob("wandb/*run-*")
    assert kept.name.startswith("offline-run-")


def test_a_server_that_goes_in_the_middle_costs_a_bounded_end_and_no_row(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone(server("none"), monkeypatch, "503")
    began = time.monotonic()
    run = online(tmp_path)
    assert time.monotonic() - began < 60
    assert run.summary["status"] == "finished"
    assert "but not all of it; to send up the rest: wandb sync " in run.said
    assert_whole(run, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", "hang", "403", "core killed", "core stopped"])
def test_whatever_goes_in_the_middle_the_run_ends_as_it_would_have(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    gone(server("none"), monkeypatch, fault)
    run = online(tmp_path)
    assert run.summary["status"] == "finished"
    assert local(run)[-1]["images"] == 1280
    if not fault.startswith("core"):
        assert_whole(run, 1)
    if fault == "core stopped":
        assert "it did not end in time" in run.said
        assert within(10, lambda: not children("wandb-core")), "else the exit would wait for it"
    assert trained(tmp_path / "next", "images=256").said.count("W&B") == 1, "the next run is tracked as ever"


def gone(server: Server, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Let `fault` happen when W&B has begun the run and a row of 640 images comes."""
    from saddlepoint.run.tracking.tracker import Tracker

    log, begin, begun = Tracker._log, Tracker._begin, threading.Event()

    def _begin(tracker: Tracker, *args: Any) -> None:
        begin(tracker, *args)
        begun.set()

    def _log(tracker: Tracker, row: dict[str, Any]) -> None:
        if row["images"] == 640 and begun.is_set():
            if fault.startswith("core"):
                for core in children("wandb-core"):
                    os.kill(core, signal.SIGKILL if fault == "core killed" else signal.SIGSTOP)
            else:
                server.fault = fault
        log(tracker, row)

    monkeypatch.setattr(Tracker, "_begin", _begin)
    monkeypatch.setattr(Tracker, "_log", _log)
