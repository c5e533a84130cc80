"""What the default callbacks and W&B offline cost: speed of the default run against one that only trains.

    python benchmarks/everything.py [--images 500000] [--repeats 3] [key=value ...]

Both runs take turns. The one has all default callbacks, metrics at their default periods, and W&B offline; the other
only `finite` and `progress`. Timed from Lightning's fit to the last round: starting, and the scores at the end, are
not included. Prints the median ratio of speeds, by wall-clock time and by user CPU time of this process (without that
of W&B's), the share of the evaluation, and the ratio without it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator

os.environ["WANDB_SILENT"] = "true"

import pytorch_lightning as pl
from record import record

import saddlepoint
from saddlepoint.callback.evaluation import Evaluation
from saddlepoint.experiment import fit


def clock() -> tuple[float, float]:
    """Seconds of wall-clock time, and of user CPU time of this process."""
    return time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime


class Timer(pl.Callback):
    """Adds up the time of a training, and of its evaluations."""

    def __init__(self) -> None:
        self.training, self.evaluation, self.start = [0.0, 0.0], [0.0, 0.0], clock()

    def on_fit_start(self, trainer, game) -> None:
        self.start = clock()

    def on_train_end(self, trainer, game) -> None:
        self.training = [b - a for a, b in zip(self.start, clock(), strict=True)]

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Time the evaluations of a training, and add this callback to it."""
        on_due, build_trainer = Evaluation.on_due, fit.build_trainer

        def measured(evaluation, trainer, game) -> None:
            start = clock()
            on_due(evaluation, trainer, game)
            self.evaluation = [t + b - a for t, a, b in zip(self.evaluation, start, clock(), strict=True)]

        Evaluation.on_due = measured
        fit.build_trainer = lambda config, callbacks: build_trainer(config, [*callbacks, self])
        try:
            yield
        finally:
            Evaluation.on_due, fit.build_trainer = on_due, build_trainer


def train(overrides: list[str]) -> Timer:
    """Train, and return the timer."""
    timer = Timer()
    with (
        tempfile.TemporaryDirectory() as folder, timer.timed(), contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):  # fmt: skip
        saddlepoint.train(saddlepoint.compose([*overrides, f"outputs={folder}"]))
    return timer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="of saddlepoint train")
    given = parser.parse_args()
    shared = [f"images={given.images}", *given.overrides]
    ratios: dict[str, list[float]] = {"ratio": [], "ratio of CPU time": [], "share of evaluation": [],
                                      "ratio of CPU time without evaluation": []}  # fmt: skip
    for _ in range(given.repeats):
        everything = train([*shared, "logger.mode=offline"])
        bare = train([*shared, "callback=[finite,progress]", "metric=[]", "logger=none"])
        rest = everything.training[1] - everything.evaluation[1]
        for name, value in zip(
            ratios,
            (bare.training[0] / everything.training[0], bare.training[1] / everything.training[1],
             everything.evaluation[1] / everything.training[1], bare.training[1] / rest), strict=True,
        ):  # fmt: skip
            ratios[name].append(value)
        print(", ".join(f"{name} {values[-1]:.3f}" for name, values in ratios.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    print(f"median of {given.repeats}: {', '.join(f'{name} {value:.3f}' for name, value in medians.items())}")
    record("everything on", **medians)


if __name__ == "__main__":
    main()
