"""Perceptrons with tanh for mixtures of Gaussians.  Metz et al. 2016 (arXiv:1611.02163), authors' notebook.

G and D have two hidden layers of 128 tanh units. Weights are orthogonal with gain 1.4 at the start, biases 0 (code
poolio/unrolled_gan; the sizes in the paper's own figure are not known to us).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.turn import UNCONDITIONAL, Condition

GAIN = 1.4  # of the initial weights


class Generator(nn.Module):
    """latent -> widths, tanh -> shape."""

    def __init__(self, latent: int, shape: Sequence[int], widths: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        sizes = [latent, *widths]
        self.layers = nn.Sequential(*_tanh_layers(sizes), nn.Linear(sizes[-1], math.prod(shape)))
        self.shape = tuple(shape)
        self.apply(_init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return points [N, *shape] for latent parts [N, dim]."""
        return self.layers(torch.cat(list(latent.values()), 1)).unflatten(1, self.shape)


class Discriminator(discriminator.Discriminator):
    """shape -> widths, tanh -> one logit; hidden layers are named hidden1, hidden2, ..."""

    def __init__(self, shape: Sequence[int], widths: Sequence[int] = (128, 128), **head: Any) -> None:
        sizes = [math.prod(shape), *widths]
        first, *others = _tanh_layers(sizes)
        layers = [nn.Sequential(nn.Flatten(), first), *others]
        super().__init__({f"hidden{i}": layer for i, layer in enumerate(layers, 1)}, sizes[-1], **head)
        self.apply(_init_weights)


def _tanh_layers(sizes: Sequence[int]) -> list[nn.Module]:
    return [nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in pairwise(sizes)]


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight, GAIN)
        nn.init.zeros_(module.bias)
