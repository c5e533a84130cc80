"""Resident memory of `saddlepoint train` over 2 million images: python benchmarks/memory.py [images] [key=value ...]

The default run, with all default callbacks but without W&B.  Prints the resident memory of the process every 200,000
images, and how much it has grown after the first quarter.
"""

import os
import resource
import sys
import tempfile
from pathlib import Path

from record import record

import saddlepoint
from saddlepoint.callback.periodic import Periodic
from saddlepoint.experiment import fit


class Memory(Periodic):
    """Prints the resident memory."""

    def __init__(self) -> None:
        super().__init__(200_000)
        self.points: list[tuple[int, float]] = []

    def on_due(self, trainer, game) -> None:
        if not self.points or self.points[-1][0] != game.images:
            self.points.append((game.images, resident_mib()))
            print(f"{game.images:>9,} images: {self.points[-1][1]:.1f} MiB", flush=True)


def resident_mib() -> float:
    """Return the resident memory of this process; where /proc is missing, its peak."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    images = int(sys.argv[1].replace("_", "")) if sys.argv[1:2] and "=" not in sys.argv[1] else 2_000_000
    memory, build_trainer = Memory(), fit.build_trainer
    fit.build_trainer = lambda config, callbacks: build_trainer(config, [*callbacks, memory])
    with tempfile.TemporaryDirectory() as folder:
        overrides = ["logger=none", f"images={images}", f"outputs={folder}", *(a for a in sys.argv[1:] if "=" in a)]
        saddlepoint.train(saddlepoint.compose(overrides))
    late = [mib for reached, mib in memory.points if reached >= images / 4]
    growth = late[-1] - late[0]
    print(f"{growth:+.1f} MiB after the first quarter, of {late[0]:.0f} MiB")
    record("memory", **{"images": images, "MiB": late[0], "MiB grown": growth})


if __name__ == "__main__":
    main()
