"""Mode seeking: E[|z1 - z2| / |G(z1) - G(z2)|], so that different latents give different samples.

Mao et al. 2019 (arXiv:1903.05628), eq. 3: they maximise the inverse ratio of mean absolute distances and minimise
1 / (ratio + 1e-5) in their code, with weight 1.  Pairs are consecutive rows of one batch.
"""

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn

EPSILON = 1e-5


class ModeSeeking(Regularizer):
    """The mean over pairs of latents under one condition; a row that is left over has no pair."""

    coupled = over_ranks = True  # pairs of rows: the same pairs for an even batch on every rank

    def forward(self, turn: Turn) -> Tensor:
        """The mean of 1 / (|G(z1) - G(z2)| / |z1 - z2| + 1e-5), a scalar.  Raises Mistake for less than 2 samples."""
        x = turn["fake"].x
        z = torch.cat([part.flatten(1) for part in turn.latent.values()], 1)
        if len(x) < 2:
            raise Mistake("mode_seeking compares pairs of samples: set batch to at least 2")
        if len(x) != len(z):
            raise Mistake(
                f"mode_seeking needs one sample per latent, and side fake has {len(x)} rows for {len(z)} latents"
            )
        return (1 / (_pair_distances(x) / _pair_distances(z) + EPSILON)).mean()


def _pair_distances(rows: Tensor) -> Tensor:
    """The mean absolute difference of rows 2 i and 2 i + 1, [N // 2]."""
    even = len(rows) // 2 * 2
    return (rows[0:even:2] - rows[1:even:2]).abs().flatten(1).mean(1)
