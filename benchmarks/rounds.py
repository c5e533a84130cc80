"""Rounds per second of `saddlepoint train` against a bare loop of the same mathematics, alternated in one run.

    python benchmarks/rounds.py data=mnist architecture=conv28 data.root=...    # any overrides of train
    python benchmarks/rounds.py regularizer=[r1]
    python benchmarks/rounds.py objective=wasserstein regularizer=[gradient_penalty]

The bare loop is the fastest loop written by hand: D frozen on G's turn, fused optimizers, the same average of G's
weights, the data as one tensor in memory, batches as slices of a permutation. `saddlepoint train` runs with the
callbacks finite, journal and progress, without evaluation, grid and checkpoints, which have their own cost.

Prints each pair and the median ratios: of wall-clock time, for a quiet machine, and of user CPU time, which other
programs disturb less. 1.0 is the speed of the bare loop.
"""

import resource
import statistics
import sys
import time

import pytorch_lightning as pl
import torch
from bare import Bare

from saddlepoint.callback.periodic import Blocks
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build, build_callbacks
from saddlepoint.experiment.fit import build_trainer

ROUNDS, PAIRS = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 100, 15


def clock():
    """Seconds of wall-clock time, and of user CPU time of this process."""
    return time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime


class Alternate(pl.Callback):
    """Time ROUNDS rounds of the trainer and of the bare loop alternately."""

    def __init__(self, bare):
        self.bare, self.ratios, self.since = bare, [], None
        self.images_between = ROUNDS * bare.batch

    def on_train_batch_end(self, trainer, game, outputs, batch, batch_idx):
        if game.rounds % ROUNDS:
            return
        now = clock()
        if self.since is not None:
            for _ in range(ROUNDS):
                self.bare.round()
            end = clock()
            wall, user = ((end[i] - now[i]) / (now[i] - self.since[i]) for i in (0, 1))
            self.ratios.append((wall, user))
            print(
                f"ours {ROUNDS / (now[0] - self.since[0]):.1f} rounds/s, bare {ROUNDS / (end[0] - now[0]):.1f}, "
                f"ratio {wall:.3f}, of user CPU time {user:.3f}",
                flush=True,
            )
        trainer.should_stop = len(self.ratios) == PAIRS
        self.since = clock()


def main():
    overrides = [argument for argument in sys.argv[1:] if not argument.isdigit()]
    config = compose(
        [*overrides, "callback=[finite,journal,progress]", "metric=[]", "logger=none", "images=10_000_000"]
    )
    experiment = build(config)
    alternate = Alternate(Bare(experiment.game, experiment.data, config))
    trainer = build_trainer(config, [Blocks(config.block), *build_callbacks(config, console=None), alternate])
    trainer.fit(experiment.game, datamodule=experiment.data)
    wall, user = (statistics.median(ratios) for ratios in zip(*alternate.ratios, strict=True))
    print(
        f"median of {PAIRS} pairs of {ROUNDS} rounds, {torch.get_num_threads()} threads: {wall:.3f}, "
        f"of user CPU time {user:.3f}"
    )


if __name__ == "__main__":
    main()
