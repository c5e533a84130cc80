"""Gaussian noise on hidden units in training: x + N(0, sigma^2).  Code of Salimans et al. 2016 (arXiv:1606.03498)."""

import torch
from torch import Tensor, nn


class GaussianNoise(nn.Module):
    """x + sigma N(0, 1) in training mode, drawn from torch's global generator like dropout; otherwise x.

    Can be used as a neck or a norm; `features` is ignored.
    Raises ValueError if sigma is negative.
    """

    def __init__(self, features: int, sigma: float = 0.5) -> None:
        super().__init__()
        if sigma < 0:
            raise ValueError(f"Gaussian noise: sigma={sigma} must not be negative")
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        """Return x with noise of standard deviation sigma in training mode, else x."""
        return x + self.sigma * torch.randn_like(x) if self.training and self.sigma > 0 else x

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"
