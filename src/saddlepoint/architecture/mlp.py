"""Multilayer perceptrons, for points and small images."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.modality import default_modality
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> widths, ReLU -> shape, with a final tanh if the data are in [-1, 1].

    condition  width of each entry of the condition that is concatenated to the latent, by its name
    bounded    whether the data are in [-1, 1]; None: by the shape, true for images and audio, false for points
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        widths: Sequence[int] = (256, 256),
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        bounded: bool | None = None,
    ) -> None:
        super().__init__()
        self.join = Concatenation(condition)
        sizes = [latent + self.join.width, *widths]
        hidden = [hidden_layer(nn.Linear(a, b, bias=norm is None), b, norm, nn.ReLU()) for a, b in pairwise(sizes)]
        bound = nn.Tanh() if (default_modality(shape).bounded if bounded is None else bounded) else nn.Identity()
        self.layers = ConditionalSequential(*hidden, nn.Linear(sizes[-1], math.prod(shape)), bound)
        self.shape = tuple(shape)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return samples [N, *shape] for latent parts [N, dim]."""
        code = torch.cat(list(latent.values()), 1)
        return self.layers(self.join(code, condition) if self.join.width else code, condition).unflatten(1, self.shape)


class Discriminator(discriminator.Discriminator):
    """shape -> widths, leaky ReLU 0.2 -> one logit; hidden layers are named hidden1, hidden2, ...

    condition  width of each entry of the condition that is concatenated to x, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (256, 256),
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        join = Concatenation(condition)
        sizes = [math.prod(shape) + join.width, *widths]
        layers = [hidden_layer(nn.Linear(a, b), b, norm, nn.LeakyReLU(0.2)) for a, b in pairwise(sizes)]
        layers[0] = ConditionalSequential(nn.Flatten(), *([join] if condition else []), layers[0])
        super().__init__({f"hidden{i}": layer for i, layer in enumerate(layers, 1)}, sizes[-1], **head)
