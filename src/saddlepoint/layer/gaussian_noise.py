"""Gaussian noise on hidden units while training: x + N(0, sigma^2).  Salimans et al. 2016 (arXiv:1606.03498), code."""

import torch
from torch import Tensor, nn


class GaussianNoise(nn.Module):
    """x + sigma N(0, 1) in training mode, fresh each time, from torch's global generator, as dropout; else x.

    It stands where a neck or a norm may; the number of `features` is no matter to it.
    Raises ValueError where sigma is negative.
    """

    def __init__(self, features: int, sigma: float = 0.5) -> None:
        super().__init__()
        if sigma < 0:
            raise ValueError(f"Gaussian noise: sigma={sigma} must not be negative")
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        """x with noise of standard deviation sigma on it, in training mode; the shape of x."""
        return x + self.sigma * torch.randn_like(x) if self.training and self.sigma > 0 else x

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"
