"""What the callback `health` costs: its looks' share of a run's time, and of one round, in one process.

    OMP_NUM_THREADS=1 python benchmarks/health.py [override ...]

Every look and every round of one run are timed; the ratio of the medians, per `images_between`, is printed beside the
ratio of the sums.  The default is the default run on digits, short: data=digits images=64_000.
"""

import io
import statistics
import sys
import tempfile
import time

import pytorch_lightning as pl
from rich.console import Console

from saddlepoint.callback import health
from saddlepoint.config.compose import compose
from saddlepoint.experiment import fit as training
from saddlepoint.experiment.train import train

looks, rounds = [], []


class Timed(pl.Callback):
    """The time from the start of a round to its end, before any observer has looked."""

    def on_train_batch_start(self, trainer, game, batch, batch_idx):
        self.since = time.perf_counter()

    def on_train_batch_end(self, trainer, game, outputs, batch, batch_idx):
        rounds.append(time.perf_counter() - self.since)


def timed(look):
    def measured(*arguments):
        since = time.perf_counter()
        look(*arguments)
        looks.append(time.perf_counter() - since)

    return measured


def main(words):
    health.Health.look = timed(health.Health.look)
    own = training.build_callbacks
    training.build_callbacks = lambda config, **given: [Timed(), *own(config, **given)]
    with tempfile.TemporaryDirectory() as folder:
        fixed = ["logger=none", "metric=[]", f"outputs={folder}", "images=64_000"]
        config = compose([*fixed, *words])
        since = time.perf_counter()
        train(config, Console(file=io.StringIO()))
        whole = time.perf_counter() - since
    per = config.callback.health.images_between / config.batch
    ratio = statistics.median(looks) / (statistics.median(rounds) * per)
    print(
        f"{len(looks)} looks, median {1e3 * statistics.median(looks):.1f} ms; "
        f"a round {1e3 * statistics.median(rounds):.2f} ms"
    )
    print(f"share: {ratio:.2%} by medians, {sum(looks) / whole:.2%} of the run's time")


if __name__ == "__main__":
    main(sys.argv[1:])
