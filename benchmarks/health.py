"""The cost of the callback `health`: the fraction of time spent in its checks, per round and per run.

    OMP_NUM_THREADS=1 python benchmarks/health.py [override ...]

Times every check and every round of one run.  Prints the ratio of the medians per `images_between`, and that of the
sums.  The default run is short: data=digits images=64_000.
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

check_times, round_times = [], []


class RoundTimer(pl.Callback):
    """Time each block of rounds from its start to its end, before other callbacks run."""

    images_between = 10**9  # it may see blocks of rounds

    def on_train_batch_start(self, trainer, game, batch, batch_idx):
        self.since, self.rounds = time.perf_counter(), game.rounds

    def on_train_batch_end(self, trainer, game, outputs, batch, batch_idx):
        rounds = game.rounds - self.rounds
        round_times.extend([(time.perf_counter() - self.since) / rounds] * rounds)


def timed(check):
    def timed_check(*arguments):
        since = time.perf_counter()
        check(*arguments)
        check_times.append(time.perf_counter() - since)

    return timed_check


def main(overrides):
    health.Health.on_due = timed(health.Health.on_due)
    build_callbacks = training.build_callbacks
    training.build_callbacks = lambda config, **kwargs: [RoundTimer(), *build_callbacks(config, **kwargs)]
    with tempfile.TemporaryDirectory() as folder:
        fixed = ["logger=none", "metric=[]", f"outputs={folder}", "images=64_000"]
        config = compose([*fixed, *overrides])
        since = time.perf_counter()
        train(config, Console(file=io.StringIO()))
        run_time = time.perf_counter() - since
    rounds_between = config.callback.health.images_between / config.batch
    ratio = statistics.median(check_times) / (statistics.median(round_times) * rounds_between)
    print(
        f"{len(check_times)} checks, median {1e3 * statistics.median(check_times):.1f} ms; "
        f"a round {1e3 * statistics.median(round_times):.2f} ms"
    )
    print(f"fraction: {ratio:.2%} by medians, {sum(check_times) / run_time:.2%} of the run's time")


if __name__ == "__main__":
    main(sys.argv[1:])
