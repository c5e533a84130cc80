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

import copy
import resource
import statistics
import sys
import time

import pytorch_lightning as pl
import torch
from torch.nn.functional import softplus

from saddlepoint.callback.periodic import Blocks
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build, build_callbacks
from saddlepoint.experiment.fit import build_trainer
from saddlepoint.pixel import to_float

ROUNDS, PAIRS = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 100, 15
LOSSES = {  # by objective: of D from its logits, of G from D's logits
    "nonsaturating": (lambda real, fake: softplus(-real).mean() + softplus(fake).mean(), lambda z: softplus(-z).mean()),
    "wasserstein": (lambda real, fake: fake.mean() - real.mean(), lambda z: -z.mean()),
}


class Bare:
    """A hand-written loop of the non-saturating or Wasserstein game, perhaps with R1 or a gradient penalty."""

    def __init__(self, game, data, config):
        self.g, self.d = copy.deepcopy(game.generator.network), copy.deepcopy(game.discriminator.network)
        self.average = copy.deepcopy(self.g).requires_grad_(False)
        self.averaged, self.live = ([*net.parameters(), *net.buffers()] for net in (self.average, self.g))
        self.averaged, self.live = ([t for t in ts if t.is_floating_point()] for ts in (self.averaged, self.live))
        self.d_parameters = list(self.d.parameters())
        self.decay = 0.5 ** (config.batch / 20_000)
        self.latents, self.batch = game.prior.total_dim, config.batch
        self.d_loss, self.g_loss = LOSSES[config.choice.objective]
        self.penalties = list(config.choice.regularizer or ())
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
        real_logits = self.d(x.requires_grad_("r1" in self.penalties)).logits
        loss = self.d_loss(real_logits, self.d(fake).logits)
        if "r1" in self.penalties:
            (slope,) = torch.autograd.grad(real_logits.sum(), x, create_graph=True)
            loss = loss + slope.square().flatten(1).sum(1).mean() / 2
        if "gradient_penalty" in self.penalties:
            e = torch.rand(self.batch, *(1,) * (x.ndim - 1))
            between = (e * x + (1 - e) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(self.d(between).logits.sum(), between, create_graph=True)
            loss = loss + 10 * ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()
        loss.backward()
        self.opt_d.step()
        for p in self.d_parameters:
            p.requires_grad_(False)
        self.opt_g.zero_grad()
        self.g_loss(self.d(self.g({"z": torch.randn(self.batch, self.latents)})).logits).backward()
        self.opt_g.step()
        for p in self.d_parameters:
            p.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.live, 1 - self.decay)


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
