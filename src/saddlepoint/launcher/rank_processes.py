"""The ranks of one run on this machine: N processes that form a group and end together."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO

from saddlepoint.error import LostRank, Stopped, ending_signals
from saddlepoint.launcher.pool import start_process, suspend_together

Log = Callable[[str], None]
GRACE_SECONDS = 5.0  # seconds for the other ranks to report after one has failed
SIGNAL_EXITS = tuple({Stopped(number).exit: None for number in ending_signals()})  # exit codes after an ending signal
LOST_EXIT = LostRank.exit  # exit code of a rank that waited for a failed one; its message is not the reason


def run_ranks(command: Sequence[str], number: int, supervisor: str, log: Log) -> int:
    """Start `command` as ranks 0 to `number` - 1; return 0, or the exit code of the first failed rank.

    If a rank fails, the others are stopped, after `GRACE_SECONDS` by force. Ending signals are forwarded to all ranks.
    `supervisor`: the environment variable that gives the ranks the id of this process.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # a free port
        port = listener.getsockname()[1]
    shared = {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number, "GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": port, supervisor: os.getpid()}  # fmt: skip
    environments = [
        os.environ | {k: str(v) for k, v in {**shared, "RANK": i, "LOCAL_RANK": i}.items()} for i in range(number)
    ]
    with ExitStack() as stack:
        # only rank 0 prints; the stderr of another rank is shown if it fails first
        errors = [None, *(stack.enter_context(TemporaryFile()) for _ in environments[1:])]
        processes = [start_process(command, env, stderr=error) for env, error in zip(environments, errors, strict=True)]
        stack.callback(_kill_all, processes)
        with _forward_signals(processes), suspend_together():
            return _wait_for_ranks(processes, errors, log)


def _kill_all(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_for_ranks(processes: Sequence[subprocess.Popen], errors: Sequence[IO[bytes] | None], log: Log) -> int:
    """Wait until all ranks have ended, or one has failed and the grace period is over. Return the exit code."""
    failed: dict[int, int] = {}  # exit codes by rank, in order of time
    deadline = float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
        failed |= _failed_ranks(processes)
        if failed and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
    failed |= _failed_ranks(processes)
    rank, code = min(
        failed.items(), key=lambda pair: pair[1] == LOST_EXIT, default=(0, 0)
    )  # the first, but a lost rank last
    if code and code not in SIGNAL_EXITS:
        if (error := errors[rank]) is not None:
            error.seek(0)
            log(error.read().decode(errors="replace").rstrip())
        reason = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed, exit code {code}"
        log(f"rank {rank} of {len(processes)} {reason}; the others are stopped")
    return 128 - code if code < 0 else code


def _failed_ranks(processes: Sequence[subprocess.Popen]) -> dict[int, int]:
    """Return the exit codes of failed ranks; killed ranks come first, because they cause other failures."""
    codes = ((i, code) for i, process in enumerate(processes) if (code := process.poll()))
    return dict(sorted(codes, key=lambda pair: pair[1] > 0))


@contextmanager
def _forward_signals(processes: Sequence[subprocess.Popen]) -> Iterator[None]:
    """Forward ending signals of this process to each of `processes` in the context."""

    def forward(number: int, frame: object) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    handlers = {number: signal.signal(number, forward) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
