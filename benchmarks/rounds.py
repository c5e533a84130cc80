"""Rounds per second of `saddlepoint train` against a bare loop of the same networks, alternated in one run.

    python benchmarks/rounds.py data=mnist architecture=conv28 data.root=...    # any overrides of train

The bare loop is the fastest loop written by hand: D frozen on G's turn, fused optimizers, the data as one tensor in
memory, batches as slices of a permutation. `saddlepoint train` runs with the callbacks finite, journal and progress,
without evaluation, grid and checkpoints, which have their own cost. Prints each pair and the median ratio; 1.0 is the
speed of the bare loop.
"""

import copy
import statistics
import sys
import time

import pytorch_lightning as pl
import torch
from torch.nn.functional import softplus

from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build, build_callbacks
from saddlepoint.experiment.fit import build_trainer
from saddlepoint.pixel import to_float

ROUNDS, PAIRS = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 100, 9


class Bare:
    """A hand-written loop of the non-saturating game."""

    def __init__(self, game, data, batch):
        self.g, self.d = copy.deepcopy(game.generator.network), copy.deepcopy(game.discriminator.network)
        self.latents, self.batch = game.prior.total_dim, batch
        adam = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}
        self.opt_g = torch.optim.Adam(self.g.parameters(), **adam)
        self.opt_d = torch.optim.Adam(self.d.parameters(), **adam)
        split = data.split("train")
        self.x = to_float(split[torch.arange(len(split))][0])
        self.order, self.position = torch.randperm(len(self.x)), 0

    def round(self):
        if self.position + self.batch > len(self.x):
            self.order, self.position = torch.randperm(len(self.x)), 0
        x = self.x[self.order[self.position : self.position + self.batch]]
        self.position += self.batch
        with torch.no_grad():
            fake = self.g({"z": torch.randn(self.batch, self.latents)})
        self.opt_d.zero_grad()
        (softplus(-self.d(x).logits).mean() + softplus(self.d(fake).logits).mean()).backward()
        self.opt_d.step()
        for p in self.d.parameters():
            p.requires_grad_(False)
        self.opt_g.zero_grad()
        softplus(-self.d(self.g({"z": torch.randn(self.batch, self.latents)})).logits).mean().backward()
        self.opt_g.step()
        for p in self.d.parameters():
            p.requires_grad_(True)


class Alternate(pl.Callback):
    """Time ROUNDS rounds of the trainer and of the bare loop alternately."""

    def __init__(self, bare):
        self.bare, self.pairs, self.since = bare, [], None

    def on_train_batch_end(self, trainer, game, outputs, batch, batch_idx):
        if game.rounds % ROUNDS:
            return
        now = time.perf_counter()
        if self.since is not None:
            ours, start = now - self.since, time.perf_counter()
            for _ in range(ROUNDS):
                self.bare.round()
            theirs = time.perf_counter() - start
            self.pairs.append((ROUNDS / ours, ROUNDS / theirs))
            print(
                f"ours {self.pairs[-1][0]:.1f} rounds/s, bare {self.pairs[-1][1]:.1f}, ratio {theirs / ours:.3f}",
                flush=True,
            )
        trainer.should_stop = len(self.pairs) == PAIRS
        self.since = time.perf_counter()


def main():
    overrides = [argument for argument in sys.argv[1:] if not argument.isdigit()]
    config = compose(
        [*overrides, "callback=[finite,journal,progress]", "metric=[]", "logger=none", "images=10_000_000"]
    )
    experiment = build(config)
    alternate = Alternate(Bare(experiment.game, experiment.data, config.batch))
    trainer = build_trainer(config, [*build_callbacks(config, console=None), alternate])
    trainer.fit(experiment.game, datamodule=experiment.data)
    ratio = statistics.median(ours / bare for ours, bare in alternate.pairs)
    print(f"median of {len(alternate.pairs)} pairs of {ROUNDS} rounds, {torch.get_num_threads()} threads: {ratio:.3f}")


if __name__ == "__main__":
    main()
