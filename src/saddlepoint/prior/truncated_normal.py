"""The truncation trick: z ~ N(0, I) conditioned on |z_i| <= threshold for each component.

    variance = 1 - 2 t phi(t) / (2 Phi(t) - 1),   t the threshold

Brock et al. 2018 (arXiv:1809.11096), section 3.1: values beyond the threshold are drawn again until they are inside.
Here they are drawn once, by the inverse of the distribution function, which gives the same distribution.
"""

import math

import torch
from torch import Tensor

from saddlepoint.prior.normal import Normal
from saddlepoint.stream import Stream


class TruncatedNormal(Normal):
    """dim independent normals, truncated at +-threshold.

    Values inside are those of Normal for the same stream; those that replace the others come from its child
    `truncation`. Raises ValueError unless the threshold is positive.
    """

    def __init__(self, dim: int, threshold: float = 2.0) -> None:
        super().__init__(dim)
        if not threshold > 0:
            raise ValueError(f"TruncatedNormal: threshold={threshold} must be above 0")
        self.threshold = threshold
        self.span = (-min(2.0, threshold), min(2.0, threshold))

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw n rows in [-threshold, threshold], [n, dim]."""
        z, u = super().sample(n, stream), stream.child("truncation").uniform(n, self.dim)
        below = 0.5 * math.erfc(self.threshold / math.sqrt(2))  # Phi(-threshold)
        inside = torch.special.ndtri(below + (1 - 2 * below) * u.cpu().double()).to(z)
        return torch.where(z.abs() > self.threshold, inside, z).clamp(-self.threshold, self.threshold)
