"""Pixel norm: the feature vector of each pixel has mean square 1.  Karras et al. 2017 (arXiv:1710.10196), section 4.2.

y = x / sqrt(mean over channels of x^2 + 1e-8)
"""

import torch
from torch import Tensor, nn


class PixelNorm(nn.Module):
    """[N, features, ...] -> the same shape; a norm without parameters, which does not couple the samples of a batch."""

    def __init__(self, features: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x over the root mean square of its channels, computed in float32 or wider: in float16, eps would be 0."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (wide * torch.rsqrt(wide.square().mean(1, keepdim=True) + self.eps)).to(x.dtype)
