"""1-d convolutions over sequences of tokens [N, T, V], T positions with V symbols (see `modality.tokens`).

The generator returns probabilities, so that D's gradient reaches it without sampling: a softmax instead of symbols, as
in Kusner & Hernandez-Lobato 2016 (arXiv:1611.04051).  Without batch norm and dropout.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.error import Mistake
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition


class Transpose(nn.Module):
    """[N, T, V] <-> [N, V, T], since convolutions expect channels first."""

    def forward(self, x: Tensor) -> Tensor:
        """Swap the last two axes."""
        return x.transpose(1, 2)


class Generator(nn.Module):
    """latent -> [N, width, T], ReLU -> one convolution per further entry of `widths`, ReLU -> softmax, [N, T, V].

    kernel     positions per convolution, odd
    condition  width of each entry of the condition that is concatenated to the latent, by its name
    """

    modality = "tokens"

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        widths: Sequence[int] = (64, 64),
        kernel: int = 5,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        length, symbols = _sequence_sizes(shape, kernel)
        self.join = Concatenation(condition)
        hidden = [
            hidden_layer(nn.Conv1d(a, b, kernel, padding=kernel // 2, bias=norm is None), b, norm, nn.ReLU())
            for a, b in pairwise(widths)
        ]
        self.layers = ConditionalSequential(
            nn.Linear(latent + self.join.width, widths[0] * length), nn.Unflatten(1, (widths[0], length)), nn.ReLU(),
            *hidden, nn.Conv1d(widths[-1], symbols, kernel, padding=kernel // 2), Transpose(), nn.Softmax(-1),
        )  # fmt: skip

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return probabilities [N, T, V] for latent parts [N, dim]."""
        code = torch.cat(list(latent.values()), 1)
        return self.layers(self.join(code, condition) if self.join.width else code, condition)


class Discriminator(discriminator.Discriminator):
    """[N, T, V] -> a convolution per entry of `widths`, leaky ReLU 0.2, all but the first with stride 2 -> one logit.

    Hidden layers are named hidden1, hidden2, ...; the last one is flattened.
    condition  width of each entry of the condition that is concatenated to every position of x, by its name
    """

    modality = "tokens"

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (64, 64),
        kernel: int = 5,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        length, symbols = _sequence_sizes(shape, kernel)
        join = Concatenation(condition, dim=-1)
        sizes = [symbols + join.width, *widths]
        layers = []
        for number, (a, b) in enumerate(zip(sizes, widths, strict=False)):
            stride = 1 if number == 0 else 2
            length = -(-length // stride)
            layers.append(hidden_layer(nn.Conv1d(a, b, kernel, stride, kernel // 2), b, norm, nn.LeakyReLU(0.2)))
        layers[0] = ConditionalSequential(*([join] if condition else []), Transpose(), layers[0])
        layers[-1] = ConditionalSequential(layers[-1], nn.Flatten())
        super().__init__({f"hidden{i}": layer for i, layer in enumerate(layers, 1)}, widths[-1] * length, **head)


def _sequence_sizes(shape: Sequence[int], kernel: int) -> tuple[int, int]:
    """Return T and V.  Raises Mistake if the data are not sequences of tokens or the kernel is even."""
    if len(shape) != 2:
        raise Mistake(
            f"architecture=sequence makes sequences of tokens, but data.shape is {list(shape)}: use architecture=mlp"
        )
    if kernel % 2 == 0:
        raise Mistake(f"kernel={kernel} must be odd, so that a convolution keeps the length")
    return shape[0], shape[1]
