"""Small games for tests, and a Trainer with nothing else."""

import logging
import warnings
from functools import partial

import pytorch_lightning as pl
import torch
from torch import nn

from saddlepoint.game.game import Game
from saddlepoint.game.initialisation import run_data_dependent_init
from saddlepoint.game.player import Player
from saddlepoint.game.side import TWO_PLAYER, parse_sides
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import Batch, DiscriminatorOutput, Turn

RULES = {"alternating": None, "simultaneous": [["discriminator", "generator"]]}  # the order of play


class Critic(nn.Module):
    """A discriminator: a trunk and a last layer."""

    def __init__(self, trunk: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.trunk, self.last = trunk, last

    def forward(self, x, condition=None):
        features = self.trunk(x)
        return DiscriminatorOutput(self.last(features).flatten(), {"trunk": features})


class Maker(nn.Module):
    """A generator: a network of z."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent, condition=None):
        return self.network(latent["z"])


def networks(width=8, z=3, x=2):
    """A small generator with batch norm and a small critic without."""
    maker = Maker(nn.Sequential(nn.Linear(z, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, x)))
    return maker, Critic(nn.Sequential(nn.Linear(x, width), nn.LeakyReLU(0.2)), nn.Linear(width, 1))


BY_CLASS = {**TWO_PLAYER, **{side: {**TWO_PLAYER[side], "condition": {"label": "y"}} for side in ("real", "fake")}}


def game(
    objective, regularizers=(), rule="alternating", optimizer=None, seed=0, nets=None, d=None, g=None, z=3, **more
):
    """A two-player game of `objective` (a module) with D's regularizers (a mapping); d and g are players' settings."""
    generator, discriminator = nets or networks(z=z)
    optimizer = optimizer or partial(torch.optim.SGD, lr=0.1)
    players = {
        "discriminator": Player(discriminator, optimizer, objective.discriminator, dict(regularizers), **(d or {})),
        "generator": Player(generator, optimizer, objective.generator, **(g or {})),
    }
    return Game(players, Prior(z=Normal(z)), seed, order=RULES[rule], **more)


def turn(player=None, latent=None, drawn=None, images=0, **samples):
    """A turn of the two-player game whose sides are these samples."""
    given = {name: sample for name, sample in samples.items() if sample is not None}
    return Turn(parse_sides(TWO_PLAYER), {}, Batch(next(iter(given.values())).x.detach()), {"latent": latent or {}},
                player=player, term_draw=drawn, images=images, samples=given)  # fmt: skip


def judge(logits):
    """A judge of samples whose logits are a function of x alone."""
    return lambda x, condition: DiscriminatorOutput(logits(x))


def batches(rounds, n=16, shape=(2,), seed=1, dtype=torch.float32):
    """Batches of standard normal points or images."""
    stream = torch.Generator().manual_seed(seed)
    return [Batch(torch.randn(n, *shape, generator=stream, dtype=dtype)) for _ in range(rounds)]


def fit(game, data, callbacks=(), **settings):
    """Play one round per batch in `data`; return the trainer."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=list(callbacks), enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **settings,
    )  # fmt: skip
    if game.images == 0:
        run_data_dependent_init(game, data)
    trainer.fit(game, Rounds(data))
    return trainer


class Rounds:
    """A list of batches that Lightning treats as one loader, not as a list of loaders."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


class Watch(pl.Callback):
    """Calls `before` and `after` each round."""

    def __init__(self, before=None, after=None):
        self.before, self.after = before, after

    def on_train_batch_start(self, trainer, game, batch, batch_idx):
        if self.before:
            self.before(game, batch_idx)

    def on_train_batch_end(self, trainer, game, outputs, batch, batch_idx):
        if self.after:
            self.after(game, batch_idx)
