"""The W&B run of a run: one id over all its parts, complete local logs, and server faults do no harm."""

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
from ranked import free_port, run_on_ranks
from tracking import Server, becomes_true, children, on_ranks, train_and_kill, train_run

from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.wandb_log import WandbRun, load_wandb_run


def local_rows(run: Run) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without the seconds, which W&B counts itself."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.rows()]


def assert_whole(run: Run, parts: int) -> None:
    """Check that the joined W&B logs equal the local record: the same rows, each once, under one id."""
    wandb_run = read_run(run, parts)
    assert [row for row in wandb_run.rows if "samples" not in row] == local_rows(run)
    assert (wandb_run.id, len(wandb_run.parts)) == (run.summary["wandb_id"], parts)
    assert {row["images"] for row in wandb_run.rows if "samples" in row} == {int(p.stem) for p in grids(run)}


def read_run(run: Run, parts: int) -> WandbRun:
    """Load the W&B run once the process of W&B, which writes for a moment after the end of a run, has finished."""

    def is_complete() -> bool:
        try:
            wandb_run = load_wandb_run(run.folder)
        except Mistake:  # there is no log yet
            return False
        return (
            len(wandb_run.parts) == parts
            and len(wandb_run.rows) >= len(local_rows(run))
            and wandb_run.parts[-1].exit is not None
        )

    becomes_true(10, is_complete)
    return load_wandb_run(run.folder)


def grids(run: Run) -> list[Path]:
    return [path for path in run.samples.glob("*.png") if path.stem.isdigit()]


def test_a_resumed_run_is_one_run_in_the_wandb_logs(tmp_path: Path) -> None:
    first = train_run(tmp_path, "images=640")
    assert_whole(first, 1)
    run = train_run(tmp_path, "images=1280")
    assert "W&B: offline; to upload it: wandb sync " in run.said
    assert_whole(run, 2)
    wandb_run = read_run(run, 2)
    assert [run_part.config["begun_at"] for run_part in wandb_run.parts] == [0, 640]
    assert [run_part.exit for run_part in wandb_run.parts] == [0, 0]
    assert wandb_run.config["provenance"]["data"]["sizes"]
    assert wandb_run.config["images"] == 1280
    assert wandb_run.config["objective"]["discriminator"]["_target_"].startswith("saddlepoint.objective.")
    assert wandb_run.summary["status"] == "finished"
    assert torch.load(run.checkpoints / "last.ckpt", weights_only=True)["wandb_id"] == wandb_run.id


def test_the_wandb_log_does_not_name_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "canary-machine")
    monkeypatch.setattr("platform.node", lambda: "canary-machine")
    run = train_run(tmp_path, "images=64")
    logs = [path for path in run.folder.rglob("*") if path.is_file() and b"canary-machine" in path.read_bytes()]
    assert not logs


def test_rows_lost_from_the_wandb_log_are_logged_again_when_the_run_resumes(tmp_path: Path) -> None:
    first = train_run(tmp_path, "images=640")
    assert_whole(first, 1)
    (log,) = first.folder.glob("wandb/*run-*/*.wandb")
    log.write_bytes(log.read_bytes()[: int(0.8 * log.stat().st_size)])
    lost = load_wandb_run(first.folder)
    assert lost.parts[0].exit is None
    assert 0 < len([row for row in lost.rows if "samples" not in row]) < len(local_rows(first)), (
        "some rows were lost, some were not"
    )
    run = train_run(tmp_path, "images=1280")
    wandb_run = read_run(run, 2)
    assert [row for row in wandb_run.rows if "samples" not in row] == local_rows(run)
    assert {run_part.id for run_part in wandb_run.parts} == {run.summary["wandb_id"]}


def test_a_run_started_by_a_wandb_agent_has_the_id_of_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "search1")
    monkeypatch.setenv("WANDB_RUN_ID", "agentsown")
    wandb.teardown()  # wandb reads the environment once per process
    try:
        run = train_run(tmp_path, "images=640")
        assert run.summary["wandb_id"] == "agentsown"
        assert_whole(run, 1)
    finally:
        wandb.teardown()


@pytest.mark.slow
def test_a_run_that_was_killed_and_resumed_is_one_run_without_a_gap(tmp_path: Path) -> None:
    child = multiprocessing.get_context("forkserver").Process(target=train_and_kill, args=(str(tmp_path), 1152))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    run = train_run(tmp_path, "images=1920")
    assert "resuming at 640 images" in run.said
    wandb_run = read_run(run, 2)
    assert [row for row in wandb_run.rows if "samples" not in row] == local_rows(run)
    assert wandb_run.parts[-1].config["begun_at"] == 640
    assert {run_part.id for run_part in wandb_run.parts} == {run.summary["wandb_id"]}


@pytest.mark.slow
def test_two_ranks_are_one_wandb_run(tmp_path: Path) -> None:
    first, other = run_on_ranks(on_ranks, 2, str(tmp_path), free_port(), join=False)
    (run,) = tmp_path.glob("run/seed0")
    assert other == []
    assert first == [Run(run).summary["wandb_id"]]
    assert len(list(run.glob("wandb/*run-*"))) == 1
    assert_whole(Run(run), 1)


# ------------------------------------------------------------------------------------------------ a server's faults


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Log in to a local server with an injected fault."""
    servers: list[Server] = []
    wandb.teardown()  # wandb keeps what it has read from the environment

    def logged_in(fault: str) -> Server:
        servers.append(Server(fault))
        monkeypatch.setenv("WANDB_BASE_URL", servers[0].url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setattr("wandb.apis.public.api.Api._HTTP_TIMEOUT", 1)  # WANDB_HTTP_TIMEOUT was read before
        monkeypatch.delenv("WANDB_MODE", raising=False)
        return servers[0]

    yield logged_in
    for each in servers:
        each.__exit__()
    with contextlib.suppress(OSError):  # the process of W&B may have been killed
        wandb.teardown()


def online(folder: Path, *words: str) -> Any:
    return train_run(folder, "logger.mode=online", "logger.timeout=1", "images=1280", *words)


@pytest.mark.parametrize(
    "fault", ["hang", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("refuse", "500", "401"))]
)
def test_a_run_that_the_server_does_not_start_is_tracked_offline_under_its_id(
    tmp_path: Path, server: Any, fault: str
) -> None:
    server(fault)
    run = online(tmp_path)
    assert run.summary["status"] == "finished"
    assert run.said.count("this run is tracked offline") == 1
    assert "W&B: offline; to upload it: wandb sync " in run.said
    assert_whole(run, 1)
    (kept,) = run.folder.glob("wandb/*run-*")
    assert kept.name.startswith("offline-run-")


def test_a_server_that_fails_during_a_run_costs_limited_time_and_no_row(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject_fault(server("none"), monkeypatch, "503")
    began = time.monotonic()
    run = online(tmp_path)
    assert time.monotonic() - began < 60
    assert run.summary["status"] == "finished"
    assert "but not all of it; to upload the rest: wandb sync " in run.said
    assert_whole(run, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", "hang", "403", "core killed", "core stopped"])
def test_any_failure_during_a_run_leaves_its_result_unchanged(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    inject_fault(server("none"), monkeypatch, fault)
    run = online(tmp_path)
    assert run.summary["status"] == "finished"
    assert local_rows(run)[-1]["images"] == 1280
    if not fault.startswith("core"):
        assert_whole(run, 1)
    if fault == "core stopped":
        assert "W&B did not finish in time" in run.said
        assert becomes_true(10, lambda: not children("wandb-core")), "otherwise the exit would wait for it"
    assert train_run(tmp_path / "next", "images=256").said.count("W&B") == 1, "the next run is tracked as usual"


def inject_fault(server: Server, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Make `fault` happen at the row of 640 images, once W&B has started the run."""
    from saddlepoint.run.tracking.tracker import Tracker

    log, begin, has_started = Tracker._log_row, Tracker._start_run, threading.Event()

    def _start_run(tracker: Tracker, *args: Any) -> None:
        begin(tracker, *args)
        has_started.set()

    def _log(tracker: Tracker, row: dict[str, Any]) -> None:
        if row["images"] == 640 and has_started.is_set():
            if fault.startswith("core"):
                for core in children("wandb-core"):
                    os.kill(core, signal.SIGKILL if fault == "core killed" else signal.SIGSTOP)
            else:
                server.fault = fault
        log(tracker, row)

    monkeypatch.setattr(Tracker, "_start_run", _start_run)
    monkeypatch.setattr(Tracker, "_log_row", _log)
