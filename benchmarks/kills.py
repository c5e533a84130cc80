"""How many SIGKILLs at random moments a run survives: python benchmarks/kills.py [number] [seed]

A run in a process of its own, of scores, snapshots, a curve and many checkpoints, is killed at a random moment, and the
same command given again, until it finishes; that is one trial, and there is one per kill.  It is then held against the
run that nobody disturbed: every checkpoint to the last bit, the curve, the summary, the list of files.  The processes
are forked from one that has imported torch, so that a hundred trials take minutes; each is its own session of the run
from the lock to the summary, and nothing of it is handled: SIGKILL cannot be.
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
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "command"))

from crashed import SCORED, outcome, trained  # pyright: ignore[reportMissingImports]

WORDS = [*SCORED, "images=960"]


@dataclass
class Figures:
    """Of a campaign."""

    kills: int = 0  # processes that SIGKILL ended
    late: int = 0  # that had finished before their SIGKILL came
    survived: int = 0  # trials that ended as the undisturbed run did
    lost: int = 0  # that did not, or not at all
    left: int = 0  # files that the undisturbed run does not have
    restarts: int = 0  # commands given after a kill


def forked(work: Callable[[], object], quiet: bool = True) -> int:
    """Start `work` in a process of its own; its number.  Exit code 0 where it returns."""
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


def ended(child: int) -> int:
    """Wait for a process; its exit code, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(work: Callable[[], object], after: float) -> bool:
    """Start `work`, send SIGKILL after so many seconds; whether that came before its end."""
    child = forked(work)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return ended(child) == -signal.SIGKILL


def trial(root: Path, straight: object, life: float, chance: random.Random, figures: Figures) -> None:
    """Kill a fresh run, and the same command after it by chance again, then let it finish and look at it."""
    shutil.rmtree(root, ignore_errors=True)

    def work() -> object:
        return trained(WORDS, root)

    again = True
    while again:
        if not killed(work, chance.uniform(0, life)):
            figures.late += 1
            break
        figures.kills += 1
        again = chance.random() < 0.3  # a third of the kills hit a run that goes on from a kill
    figures.restarts += 1
    if ended(forked(work)) != 0:
        figures.lost += 1
        return
    found = outcome(root / "run" / "seed0")
    figures.left += len(set(found[-1]) - set(straight[-1]))  # pyright: ignore[reportIndexIssue]
    figures.survived += found == straight
    figures.lost += found != straight


def campaign(number: int, seed: int, root: Path) -> Figures:
    """At least `number` kills, drawn from `seed`."""
    chance, figures = random.Random(seed), Figures()
    trained(WORDS, root)
    straight = outcome(root / "run" / "seed0")
    shutil.rmtree(root)
    start = time.perf_counter()
    ended(forked(lambda: trained(WORDS, root)))
    life = 1.1 * (time.perf_counter() - start)
    while figures.kills < number:
        trial(root, straight, life, chance, figures)
        if sys.stderr.isatty():
            print(f"\r{figures}", end="", file=sys.stderr)
    return figures


def main() -> None:
    number, seed = (int(word) for word in (*sys.argv[1:], *("100", "0")[len(sys.argv) - 1 :]))
    from saddlepoint.run import provenance

    provenance.current_commit = lambda folder: None  # a process per start, which tells nothing here
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        figures = campaign(number, seed, Path(folder) / "runs")
    print(f"{figures.kills} SIGKILLs, {figures.late} more came after the end, {figures.restarts} times finished after")
    print(f"survived {figures.survived}, lost {figures.lost}, files left behind {figures.left}")
    print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(1 if figures.lost or figures.left else 0)


if __name__ == "__main__":
    main()
