"""Runs a function on several ranks on one CPU, over gloo, and returns their results.

The processes are forked from a server that has imported torch, so that they start fast.
"""

import multiprocessing
import os
import queue
import socket
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch", "pytorch_lightning", "saddlepoint.game.game", "play"])


def run_on_ranks(function, world, *arguments, seconds=240, join=True):
    """Return function(rank, *arguments) of each of `world` ranks, in order; plain values and arrays.

    join=False: the processes do not join a group.

    Raises AssertionError with the traceback of the first rank that failed.
    """
    port = free_port()
    answers = _context.Queue()
    processes = [
        _context.Process(target=_rank, args=(function, i, world if join else 1, port, answers, arguments), daemon=True)
        for i in range(world)
    ]
    for process in processes:
        process.start()
    try:
        results = dict(_result(answers, processes, seconds) for _ in processes)
    finally:
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()
    return [results[i] for i in range(world)]


def _result(answers, processes, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        dead = [i for i, process in enumerate(processes) if process.exitcode]
        try:
            rank, good, answer = answers.get(timeout=0.5)
        except queue.Empty:
            assert not dead, f"rank {dead[0]} died without an error, exit code {processes[dead[0]].exitcode}"
            continue
        assert good, f"rank {rank} failed:\n{answer}"
        return rank, answer
    raise AssertionError(f"no result within {seconds} seconds")


def _rank(function, rank, world, port, answers, arguments):
    import torch

    from saddlepoint import ranks

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    try:
        if world > 1:
            ranks.join_group(torch.device("cpu"), rank, world)
        answer = function(rank, *arguments)
        answers.put((rank, True, answer))
        if world > 1:
            ranks.leave_group()
    except BaseException:
        answers.put((rank, False, traceback.format_exc()))


def free_port():
    """Return a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
