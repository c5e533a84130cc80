"""Stops a run whose losses are no numbers any more, and keeps the turn for whoever wants to know why."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from saddlepoint import ranks
from saddlepoint.callback.dump import (
    BufferOwner,
    TurnState,
    capture_turn_state,
    find_buffer_owners,
    named_gradients,
    write_dump,
)
from saddlepoint.callback.periodic import check_images_between
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.run.folder import Run
from saddlepoint.turn import Batch

GRADIENT = "the gradient"  # how what is bad of one begins
SMALL = 2048  # numbers of a gradient that is always looked at


class Diverged(Mistake):
    """A term, a gradient or a weight became NaN or infinite."""


class Finite(pl.Callback):
    """Looks at terms and gradients before a step is made of them: on a CPU at each, else in the round that passes
    `images_between` images (to look is to wait for the GPU).  What is no number is dumped, the turn as it was.

    Before each checkpoint it looks at the weights too, so that none without a number is ever saved.
    `run`: where dumps/<images>.pt goes; None: nowhere.
    """

    def __init__(self, images_between: int, run: Run | None = None) -> None:
        self.images_between, self.run = check_images_between(images_between), run
        self._owners: list[BufferOwner] = []
        self._moment: TurnState | None = None  # as the turn began that is being played

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._owners = find_buffer_owners(game)
        game.observers = [*(one for one in game.observers if one is not self), self]

    def before_turn(self, game: Game, names: Sequence[str], batch: Batch) -> None:
        """Keep what the turn is about to change."""
        self._moment = capture_turn_state(game, self._owners, names, batch)

    def before_step(self, game: Game, names: Sequence[str]) -> None:
        """Look at the terms and gradients that a step is about to be made of.  Raises Diverged."""
        if (moment := self._moment) is None:
            return
        reached = game.images + game.global_batch_size(moment.batch)
        due = reached // self.images_between > game.images // self.images_between
        if game.device.type == "cpu" or due:
            scaled = game.scaler is not None  # it leaves out such a step itself
            bad = [*_terms(game, moment.names), *([] if scaled else _gradients(game, moment.names))]
            self._conclude(game, bad, "before")

    def on_save_checkpoint(self, trainer: pl.Trainer, game: Game, checkpoint: dict[str, Any]) -> None:
        weights = (name for name, parameter in game.named_parameters() if not torch.isfinite(parameter).all())
        self._conclude(game, [*_terms(game, game.players), *(f"the weight {name}" for name in weights)], "after")

    def _conclude(self, game: Game, bad: list[str], noticed: str) -> None:
        """Raise Diverged where any rank has found something `bad`; it dumps its own turn first."""
        if not ranks.max(len(bad)):  # what is no number on one rank is, as a gradient, none on all
            return
        everywhere = ranks.all_gather_object(bad)
        # a term before a gradient, which the ranks share: where it is no number on one, it is none on any
        first = min((own[0].startswith(GRADIENT), i) for i, own in enumerate(everywhere) if own)[1]
        where, moment = "", self._moment
        if bad and self.run is not None and moment is not None:
            try:
                path = write_dump(game, moment, bad[0], noticed, self.run.folder / "dumps", first == ranks.rank())
                where = f". To see why: saddlepoint replay dump={path}"
            except Mistake as mistake:  # a full disk must not hide what went wrong
                where = f". The turn is not kept: {mistake}"
        where = ranks.all_gather_object(where)[first]
        rounds = game.rounds + (noticed == "before")
        raise Diverged(
            f"the run diverged: {everywhere[first][0]} in round {rounds}, after {game.images:,} images. The last good "
            "checkpoint is kept; try a smaller learning rate, game.players.<player>.clip=..., or a penalty" + where
        )


def _terms(game: Game, players: Iterable[str]) -> list[str]:
    """The terms of the last turns of `players` that are no numbers."""
    return [
        f"{player}/{term} = {loss.item()}"
        for player in players
        for term, loss in game.last_losses.get(player, ({}, {}))[0].items()
        if not math.isfinite(loss.item())
    ]


def _gradients(game: Game, players: Iterable[str]) -> list[str]:
    """The gradients of `players` that are no numbers.

    What is no number on its way back reaches the biases of all layers before it, and they are a thousandth of all: only
    where one of the small ones is none, or none is small, are the large ones looked at.
    """
    found = []
    for name in players:
        all_of_them = [p.grad.flatten() for p in game.trainable_parameters(name) if p.grad is not None]
        small = [value for value in all_of_them if len(value) <= SMALL] or all_of_them
        if small and not math.isfinite(torch.cat(small).sum().item()):
            bad = (place for place, value in named_gradients(game, name).items() if not torch.isfinite(value).all())
            found += [f"{GRADIENT} of players.{name}.network.{place}" for place in bad]
    return found
