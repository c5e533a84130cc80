"""The networks of PacGAN for rings and grids.  Lin et al. 2018 (arXiv:1712.04086), section 4.1 and the authors' code.

G has four layers of 400 units without bias, each with batch norm and ReLU, and a linear layer. D has three layers of
200 maxout units with five pieces and a linear layer, without norm or dropout. Weights start from N(0, 0.02^2), biases
at 0. D takes one point at a time: the plain GAN of their table 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.maxout import Maxout
from saddlepoint.turn import UNCONDITIONAL, Condition

STD = 0.02  # of the initial weights


class Generator(nn.Module):
    """latent -> widths, norm, ReLU -> shape."""

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        widths: Sequence[int] = (400, 400, 400, 400),
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        sizes = [latent, *widths]
        hidden = [hidden_layer(nn.Linear(a, b, bias=norm is None), b, norm, nn.ReLU()) for a, b in pairwise(sizes)]
        self.layers = ConditionalSequential(*hidden, nn.Linear(sizes[-1], math.prod(shape)))
        self.shape = tuple(shape)
        self.apply(_init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return points [N, *shape] for latent parts [N, dim]."""
        return self.layers(torch.cat(list(latent.values()), 1), condition).unflatten(1, self.shape)


class Discriminator(discriminator.Discriminator):
    """shape -> layers of maxout units -> one logit; hidden layers are named hidden1, hidden2, ..."""

    def __init__(
        self, shape: Sequence[int], widths: Sequence[int] = (200, 200, 200), pieces: int = 5, **head: Any
    ) -> None:
        sizes = [math.prod(shape), *widths]
        layers: list[nn.Module] = [Maxout(a, b, pieces) for a, b in pairwise(sizes)]
        layers[0] = ConditionalSequential(nn.Flatten(), layers[0])
        super().__init__({f"hidden{i}": layer for i, layer in enumerate(layers, 1)}, sizes[-1], **head)
        self.apply(_init_weights)


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
