"""Mode seeking: E[|z1 - z2| / |G(z1) - G(z2)|], so that different latents give different samples.

Mao et al. 2019 (arXiv:1903.05628), eq. 3: they maximise the inverse ratio of mean absolute distances and minimise
1 / (ratio + 1e-5) in their code, with weight 1 and one ratio, of means over the batch, where this is a mean over pairs.
Both samples of a pair have the same condition: a conditional generator needs game.players.generator.multiple=2.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer, batch_columns
from saddlepoint.turn import Turn, side_of_player

EPSILON = 1e-5


class ModeSeeking(Regularizer):
    """The mean over pairs of latents, with the fakes as G made them, before an augmentation.

    Of an even number of fakes per real (`multiple`), pairs are two fakes of one real, which have its condition;
    otherwise they are consecutive rows, and a row that is left over has no pair.
    """

    coupled = over_ranks = True  # pairs of rows: with one fake per real the same ones for an even batch on every rank

    def forward(self, turn: Turn) -> Tensor:
        """The mean of 1 / (|G(z1) - G(z2)| / |z1 - z2| + 1e-5), a scalar.  Raises Mistake for less than 2 samples."""
        x = turn.made_by_player("fake").x
        z = torch.cat([part.flatten(1) for part in turn.latent.values()], 1)
        if len(x) < 2:
            raise Mistake("mode_seeking compares pairs of samples: set batch to at least 2")
        if len(x) != len(z):
            raise Mistake(
                f"mode_seeking needs one sample per latent, and side fake has {len(x)} rows for {len(z)} latents"
            )
        n = len(turn.batch)
        apart = n if len(x) % (2 * n) == 0 else 1
        return (1 / (_pair_distances(x, apart) / _pair_distances(z, apart) + EPSILON)).mean()

    def check_game(self, game: Any) -> str | None:
        """Return a warning if the samples of a pair have different conditions."""
        player = next((p for p in game.players.values() if self in p.terms.values()), None)
        if player is None or player.multiple % 2 == 0:
            return None
        side = side_of_player(game.sides, player.side_by_role.get("fake", "fake"), game.players)
        if not (columns := batch_columns(game, side)):
            return None
        return (
            f"the samples of a pair have different {', '.join(sorted(columns))}: set multiple=2 for this player, so "
            "that they are two samples under one condition"
        )


def _pair_distances(rows: Tensor, apart: int) -> Tensor:
    """The mean absolute difference of pairs of rows, `apart` rows from each other, [N // 2]."""
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    pairs = rows[: len(rows) // (2 * apart) * 2 * apart].unflatten(0, (-1, 2, apart))
    return (pairs[:, 0] - pairs[:, 1]).abs().flatten(2).mean(2).flatten()
