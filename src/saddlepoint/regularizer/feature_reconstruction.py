"""Reconstruction in D's features: E ||f(x) - f(G(E(x)))||^2 / 2, f a hidden layer of D, summed over its units.

Larsen et al. 2016 (VAE-GAN, arXiv:1512.09300), eq. 7 and 8: the negative log-likelihood of f(x) under a Gaussian of
unit variance, up to a constant.  `paired_feature_matching` is the mean absolute difference over several layers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.feature_matching import FeatureMatching
from saddlepoint.turn import Turn


class FeatureReconstruction(FeatureMatching):
    """Mean over samples, in nats, of the distance between the sides `side` and `target`, which D judges.

    features  name or names of hidden layers that D returns; all: all of them; None: the last
    No gradient flows through the target.  Raises Mistake unless both have the same number of rows.
    """

    coupled = over_ranks = False

    def __init__(
        self,
        features: str | Sequence[str] | None = None,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        side: str = "reconstruction",
        target: str = "real",
    ) -> None:
        super().__init__(features, "sum_square", weight, every)
        self.side, self.target = side, target

    def forward(self, turn: Turn) -> Tensor:
        """Return the distance, a scalar."""
        x, target = (self.select(turn[side].output) for side in (self.side, self.target))
        if (n := len(x[0])) != (m := len(target[0])):
            raise Mistake(f"feature_reconstruction: {self.side} has {n} rows and {self.target} {m}")
        distances = [(t.detach() - f).square().flatten(1).sum(1).mean() / 2 for f, t in zip(x, target, strict=True)]
        return torch.stack(distances).sum()
