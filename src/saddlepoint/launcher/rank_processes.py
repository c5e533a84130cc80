"""The ranks of one run on this machine: N processes that find each other, and end together."""

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
GRACE_SECONDS = 5.0  # seconds that ranks have, once one is gone, to say how they stand; they wait for it in vain
SIGNAL_EXITS = tuple({Stopped(number).exit: None for number in ending_signals()})  # exit codes of who was told to end
LOST_EXIT = LostRank.exit  # of one that waited for another, which was gone: not the one whose words tell why


def run_ranks(command: Sequence[str], number: int, supervisor: str, say: Log) -> int:
    """Start `command` `number` times, as ranks 0, 1, ...; the exit code: 0, or the first other one.

    A rank that fails takes the others down, after `GRACE` seconds by force.  What asks for the end is handed on.
    The environment variable `supervisor` tells the ranks who this process is.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # a free port
        port = listener.getsockname()[1]
    shared = {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number, "GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": port, supervisor: os.getpid()}  # fmt: skip
    each = [os.environ | {k: str(v) for k, v in {**shared, "RANK": i, "LOCAL_RANK": i}.items()} for i in range(number)]
    with ExitStack() as stack:
        # rank 0 speaks for all; what another says is shown where it is the first to fail
        heard = [None, *(stack.enter_context(TemporaryFile()) for _ in each[1:])]
        processes = [start_process(command, own, stderr=ear) for own, ear in zip(each, heard, strict=True)]
        stack.callback(_end, processes)
        with _handed_on(processes), suspend_together():
            return _watched(processes, heard, say)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def _watched(processes: Sequence[subprocess.Popen], heard: Sequence[IO[bytes] | None], say: Log) -> int:
    """Wait until all have ended, or one has failed and the others had time to; the exit code."""
    failed: dict[int, int] = {}  # exit codes by rank, in the order in which they came
    until = float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        time.sleep(0.05)
        failed |= _failed(processes)
        if failed and until == float("inf"):
            until = time.monotonic() + GRACE_SECONDS
    failed |= _failed(processes)
    rank, code = min(failed.items(), key=lambda pair: pair[1] == LOST_EXIT, default=(0, 0))  # of equals the first
    if code and code not in SIGNAL_EXITS:
        if (ear := heard[rank]) is not None:
            ear.seek(0)
            say(ear.read().decode(errors="replace").rstrip())
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed, exit code {code}"
        say(f"rank {rank} of {len(processes)} {how}; the others are stopped")
    return 128 - code if code < 0 else code


def _failed(processes: Sequence[subprocess.Popen]) -> dict[int, int]:
    """Exit codes by rank of those that have failed; who was killed comes first, being the cause of others' ends."""
    codes = ((i, code) for i, process in enumerate(processes) if (code := process.poll()))
    return dict(sorted(codes, key=lambda pair: pair[1] > 0))


@contextmanager
def _handed_on(processes: Sequence[subprocess.Popen]) -> Iterator[None]:
    """Meanwhile a signal to this process is one to each of `processes`."""

    def hand_on(number: int, frame: object) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
