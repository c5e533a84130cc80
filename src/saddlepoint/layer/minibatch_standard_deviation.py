"""Minibatch standard deviation: a feature with the mean deviation of a group of samples, so that D sees their variety.

Karras et al. 2017 (arXiv:1710.10196), section 3; groups of 4 as in the authors' code of StyleGAN.
"""

import torch
from torch import Tensor, nn

from saddlepoint import ranks


class MinibatchStandardDeviation(nn.Module):
    """A neck: [N, F, ...] -> [N, F + 1, ...]; the added feature or map is the same number for the samples of a group.

    group  samples of a group; the rest of a batch forms a smaller one.  0: the whole batch, the only setting with
           results that do not depend on the number of ranks
    Raises ValueError for a group of 1 or below 0.
    """

    coupled = over_ranks = True
    slope_of_sum = True  # of R1 in the code of StyleGAN2 and StyleGAN2-ADA, whose discriminators have this layer

    def __init__(self, features: int, group: int = 4, eps: float = 1e-8) -> None:
        super().__init__()
        if group < 0 or group == 1:
            raise ValueError(f"minibatch standard deviation: group={group} must be 0 (the whole batch) or at least 2")
        self.features, self.group, self.eps = features + 1, group, eps

    def forward(self, features: Tensor) -> Tensor:
        """[features, deviation], [N, F + 1, ...]."""
        shape = (1, *features.shape[2:])
        if self.group == 0:
            return torch.cat([features, self._deviation(features, True).expand(len(features), *shape)], 1)
        groups = features.split(self.group)
        added = [self._deviation(rows, False).expand(len(rows), *shape) for rows in groups]
        return torch.cat([features, torch.cat(added)], 1)

    def _deviation(self, rows: Tensor, over_ranks: bool) -> Tensor:
        """The mean over features of the standard deviation over rows, a scalar in float32: eps is 0 in float16."""
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        mean = ranks.mean if over_ranks and self.training else lambda x: x
        centre = mean(rows.mean(0))
        return (mean((rows - centre).square().mean(0)) + self.eps).sqrt().mean()
