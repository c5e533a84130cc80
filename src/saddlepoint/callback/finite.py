"""Stops a run when a loss, gradient or weight is NaN or infinite, and dumps the turn for `saddlepoint replay`."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

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

GRADIENT = "the gradient"  # the start of every finding about a gradient
SMALL = 2048  # largest size of a gradient that is always checked


class Diverged(Mistake):
    """A term, a gradient or a weight became NaN or infinite."""


class Finite(pl.Callback):
    """Checks terms and gradients before each step on a CPU, and every `images_between` images on a GPU.

    The period avoids waiting for the GPU at each step. On a bad value, the state before the turn is dumped. Weights are
    checked before each checkpoint, so that no checkpoint has a bad value.
    `run`: receives dumps/<images>.pt; None: no dump.
    """

    def __init__(self, images_between: int, run: Run | None = None) -> None:
        self.images_between, self.run = check_images_between(images_between), run
        self._buffer_owners: list[BufferOwner] = []
        self._turn_state: TurnState | None = None  # before the current turn
        self._small: dict[str, list[Tensor]] = {}  # by player: parameters whose gradients are always checked

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._buffer_owners = find_buffer_owners(game)
        for name in game.players:
            self._small[name] = [p for p in game.players[name].network.parameters() if p.numel() <= SMALL]
        game.observers = [*(observer for observer in game.observers if observer is not self), self]

    def before_turn(self, game: Game, names: Sequence[str], batch: Batch) -> None:
        """Capture the state that the turn may change."""
        self._turn_state = capture_turn_state(game, self._buffer_owners, names, batch)

    def before_step(self, game: Game, names: Sequence[str]) -> None:
        """Check the terms and gradients of the next step. Raises Diverged."""
        if (state := self._turn_state) is None:
            return
        if state.batch.x.device.type == "cpu" or self._is_due(game, state.batch):
            bad = _bad_terms(game, state.names)
            if game.scaler is None:  # a gradient scaler skips steps with bad gradients
                bad += self._bad_gradients(game, state.names)
            self._dump_and_raise_if_bad(game, bad, "before")

    def _is_due(self, game: Game, batch: Batch) -> bool:
        """Whether this round reaches or passes a multiple of `images_between`."""
        images = game.images + game.global_batch_size(batch)
        return images // self.images_between > game.images // self.images_between

    def _bad_gradients(self, game: Game, players: Iterable[str]) -> list[str]:
        """Return the gradients of `players` that are NaN or infinite.

        A bad value in the backward pass reaches the biases of all earlier layers, which are a thousandth of all
        parameters. Large gradients are therefore checked only if a small one is bad, or if there are no small ones.
        """
        bad = []
        for name in players:
            gradients = [p.grad.flatten() for p in self._small[name] if p.grad is not None]
            gradients = gradients or [gradient.flatten() for gradient in named_gradients(game, name).values()]
            if gradients and not math.isfinite(torch.cat(gradients).sum().item()):
                bad_keys = (key for key, x in named_gradients(game, name).items() if not torch.isfinite(x).all())
                bad += [f"{GRADIENT} of players.{name}.network.{key}" for key in bad_keys]
        return bad

    def on_save_checkpoint(self, trainer: pl.Trainer, game: Game, checkpoint: dict[str, Any]) -> None:
        weights = (name for name, parameter in game.named_parameters() if not torch.isfinite(parameter).all())
        bad = [*_bad_terms(game, game.players), *(f"the weight {name}" for name in weights)]
        self._dump_and_raise_if_bad(game, bad, "after")

    def _dump_and_raise_if_bad(self, game: Game, bad: list[str], noticed: str) -> None:
        """Raise Diverged if any rank has a bad value; that rank dumps its turn first."""
        if (not bad and game.world_size == 1) or not ranks.max(len(bad)):
            return
        bad_by_rank = ranks.all_gather_object(bad)
        # prefer a term to a gradient: gradients are averaged, so all ranks share a bad one, and a term names its rank
        first = min((values[0].startswith(GRADIENT), i) for i, values in enumerate(bad_by_rank) if values)[1]
        hint, state = "", self._turn_state
        if bad and self.run is not None and state is not None:
            try:
                path = write_dump(game, state, bad[0], noticed, self.run.folder / "dumps", first == ranks.rank())
                hint = f". To see why: saddlepoint replay dump={path}"
            except Mistake as error:  # a full disk must not hide the divergence
                hint = f". The turn was not dumped: {error}"
        hint = ranks.all_gather_object(hint)[first]
        rounds = game.rounds + (noticed == "before")
        raise Diverged(
            f"the run diverged: {bad_by_rank[first][0]} in round {rounds}, after {game.images:,} images. The last good "
            "checkpoint is kept; try a smaller learning rate, game.players.<player>.clip=..., or a penalty" + hint
        )


def _bad_terms(game: Game, players: Iterable[str]) -> list[str]:
    """Return the terms of the last turns of `players` that are NaN or infinite."""
    return [
        f"{player}/{term} = {loss.item()}"
        for player in players
        for term, loss in game.last_losses.get(player, ({}, {}))[0].items()
        if not math.isfinite(loss.item())
    ]
