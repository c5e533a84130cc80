"""The one-layer VAE of IWAE: x - 200 - 200 - z - 200 - 200 - x, tanh.  Burda et al. 2016 (arXiv:1509.00519), section 5.

q(z|x) is a diagonal Gaussian, p(x|z) independent Bernoulli variables, of which the generator returns the logits, and as
x their means on [-1, 1], 2 sigmoid(logit) - 1.  Weights are torch's default, not those of the authors' code.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from saddlepoint.layer.posterior import GaussianPosterior, Posterior
from saddlepoint.turn import UNCONDITIONAL, Condition


class Encoder(nn.Module):
    """x [N, *shape] -> ({z: a sample of q(z|x), [N, dim]}, (mean, log_variance)); see `layer.posterior`."""

    def __init__(self, shape: Sequence[int], dim: int, widths: Sequence[int] = (200, 200)) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *_hidden([math.prod(shape), *widths]))
        self.posterior = GaussianPosterior(widths[-1], dim)

    def forward(self, x: Tensor, condition: Condition) -> tuple[dict[str, Tensor], Posterior]:
        """Return a sample of q(z|x), and its mean and log variance."""
        return self.posterior(self.layers(x), condition)


class Generator(nn.Module):
    """Latent parts, [N, dim] in total -> (x [N, *shape] in [-1, 1], the logits [N, *shape] of p(x = 1|z))."""

    def __init__(self, latent: int, shape: Sequence[int], widths: Sequence[int] = (200, 200)) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_hidden([latent, *widths]), nn.Linear(widths[-1], math.prod(shape)))
        self.shape = tuple(shape)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> tuple[Tensor, Tensor]:
        """Return the means of the pixels, and their logits."""
        logits = self.layers(torch.cat(list(latent.values()), 1)).unflatten(1, self.shape)
        return torch.tanh(logits / 2), logits  # 2 sigmoid(a) - 1 = tanh(a / 2)


def _hidden(sizes: Sequence[int]) -> list[nn.Module]:
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.Tanh())]
