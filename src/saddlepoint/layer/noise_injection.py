"""Noise injection: x + strength * noise, one N(0, 1) number per pixel for all channels, strength learned per channel.

Karras et al. 2018 (arXiv:1812.04948), section 2 and figure 1; strengths start at 0.
"""

import torch
from torch import Tensor, nn


class NoiseInjection(nn.Module):
    """[N, features, ...] -> the same shape; noise from torch's global generator in training, none in evaluation.

    Samples are drawn in evaluation mode and so have no noise. Those of the authors' code have it.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """x + strength * noise."""
        if not self.training:
            return x
        noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device, dtype=x.dtype)
        return x + self.strength.view(-1, *[1] * (x.ndim - 2)) * noise
