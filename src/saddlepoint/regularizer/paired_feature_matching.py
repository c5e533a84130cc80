"""Paired feature matching: sum over the layers l of D of E|f_l(x) - f_l(G(c))|, G(c) a reconstruction of x itself.

Wang et al. 2018 (pix2pixHD, arXiv:1711.11585), eq. 6, and Kong et al. 2020 (HiFi-GAN, arXiv:2010.05646), eq. 6, both
for tasks with a target: the mean over samples of distances, where `feature_matching` has the distance of means.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.feature_matching import FeatureMatching
from saddlepoint.regularizer.regularizer import batch_columns
from saddlepoint.turn import Turn


class PairedFeatureMatching(FeatureMatching):
    """The mean absolute difference of D's features on row i of the reals and of the fakes, summed over layers.

    features  name or names of hidden layers that D returns; all: all of them; None: the last
    No gradient flows through the reals.
    """

    coupled = over_ranks = False

    def __init__(
        self,
        features: str | Sequence[str] | None = "all",
        weight: float | Callable[[int], float] = 2.0,
        every: int = 1,
    ) -> None:
        super().__init__(features, "mean_absolute", weight, every)

    def forward(self, turn: Turn) -> Tensor:
        """Return the sum over layers, a scalar.  Raises Mistake unless there is one fake per real."""
        real, fake = (self.select(turn[side].output) for side in ("real", "fake"))
        if (n := len(real[0])) != (m := len(fake[0])):
            raise Mistake(
                f"paired_feature_matching compares each fake with its real, but there are {n} reals, {m} fakes"
            )
        return torch.stack([(r.detach() - f).abs().mean() for r, f in zip(real, fake, strict=True)]).sum()

    def check_game(self, game: Any) -> str | None:
        """Return a warning if fakes depend on no column of the batch, so that row i is compared with another sample."""
        if batch_columns(game, "fake"):
            return None
        return "the fakes of this game do not depend on the reals, so rows are compared at random: use feature_matching"
