"""How many SIGKILLs at random times a run survives: python benchmarks/kills.py [number] [seed]

A trial starts a run with scores, snapshots, a curve and many checkpoints in a new process, kills it at a random time,
and repeats the command until the run finishes.  The result is compared with an uninterrupted run: every checkpoint bit
for bit, the curve, the summary, the list of files.  Processes are forked from one that has imported torch, so that a
hundred trials take minutes; each covers a whole session from lock to summary.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from crashed import SCORED, run_result, train_run  # pyright: ignore[reportMissingImports]

OVERRIDES = [*SCORED, "images=960"]


@dataclass
class Figures:
    """Counts over all trials."""

    kills: int = 0  # processes ended by SIGKILL
    late: int = 0  # processes that finished before their SIGKILL
    survived: int = 0  # trials with the result of the uninterrupted run
    lost: int = 0  # trials with another result or none
    left: int = 0  # files that the uninterrupted run does not have
    restarts: int = 0  # final commands after the kills


def fork(work: Callable[[], object], quiet: bool = True) -> int:
    """Run `work` in a forked process and return its id; the exit code is 0 if `work` returns."""
    if (child := os.fork()) == 0:
        code = 1
        try:
            if quiet:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def wait_for(child: int) -> int:
    """Wait for a process and return its exit code, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_and_kill(work: Callable[[], object], after: float) -> bool:
    """Run `work` and send SIGKILL after `after` seconds; return whether it was still running."""
    child = fork(work)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return wait_for(child) == -signal.SIGKILL


def run_trial(root: Path, uninterrupted: object, life: float, rng: random.Random, figures: Figures) -> None:
    """Kill a new run, perhaps kill its repeated command too, then let it finish and compare the result."""
    shutil.rmtree(root, ignore_errors=True)

    def work() -> object:
        return train_run(OVERRIDES, root)

    kill_again = True
    while kill_again:
        if not run_and_kill(work, rng.uniform(0, life)):
            figures.late += 1
            break
        figures.kills += 1
        kill_again = rng.random() < 0.3  # 30% of the trials kill a resumed run again
    figures.restarts += 1
    if wait_for(fork(work)) != 0:
        figures.lost += 1
        return
    result = run_result(root / "run" / "seed0")
    figures.left += len(set(result[-1]) - set(uninterrupted[-1]))  # pyright: ignore[reportIndexIssue]
    figures.survived += result == uninterrupted
    figures.lost += result != uninterrupted


def run_trials(number: int, seed: int, root: Path) -> Figures:
    """Run trials until there are `number` kills at times drawn from `seed`."""
    rng, figures = random.Random(seed), Figures()
    train_run(OVERRIDES, root)
    uninterrupted = run_result(root / "run" / "seed0")
    shutil.rmtree(root)
    start = time.perf_counter()
    wait_for(fork(lambda: train_run(OVERRIDES, root)))
    life = 1.1 * (time.perf_counter() - start)
    while figures.kills < number:
        run_trial(root, uninterrupted, life, rng, figures)
        if sys.stderr.isatty():
            print(f"\r{figures}", end="", file=sys.stderr)
    return figures


def main() -> None:
    number, seed = (int(argument) for argument in (*sys.argv[1:], *("100", "0")[len(sys.argv) - 1 :]))
    from saddlepoint.run import provenance

    provenance.commit_state = lambda folder: None  # saves a git process per start
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        figures = run_trials(number, seed, Path(folder) / "runs")
    print(f"{figures.kills} SIGKILLs, {figures.late} more after the end, {figures.restarts} final commands")
    print(f"survived {figures.survived}, lost {figures.lost}, files left behind {figures.left}")
    print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(1 if figures.lost or figures.left else 0)


if __name__ == "__main__":
    main()
