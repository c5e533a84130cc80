"""WaveGAN: one-dimensional convolutions of width 25 and stride 4 on waveforms.  Donahue et al. 2018 (arXiv:1802.04208).

    G   latent -> (16 width, L / 1024) -> five transposed convolutions, halving the channels -> C, tanh
    D   five convolutions, doubling the channels from `width` -> one logit; phase shuffle after each but the last

Section 3 and table 3 of the paper, for 16,384 samples and width 64; here for any multiple of 1,024 samples. Without
norms, as there. Weights start Glorot-uniform, as in the authors' code.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.phase_shuffle import PhaseShuffle
from saddlepoint.turn import UNCONDITIONAL, Condition

KERNEL, STRIDE, STAGES = 25, 4, 5
FACTOR = STRIDE**STAGES  # samples per position of the smallest layer


class Generator(nn.Module):
    """Latent parts [N, dim] -> waveforms [N, C, L] in [-1, 1].

    width      channels of the last hidden layer, a 16th of those of the first
    condition  width of each entry of the condition that is concatenated to the latent, by its name
    Raises ValueError unless L is a multiple of 1,024.
    """

    modality = "audio"

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 64,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        positions = _positions(shape)
        self.join = Concatenation(condition)
        widths = [width * 2**i for i in reversed(range(STAGES))]

        def up(a: int, b: int) -> nn.Module:
            return nn.ConvTranspose1d(a, b, KERNEL, STRIDE, padding=11, output_padding=1, bias=norm is None)

        dense = nn.Sequential(
            nn.Linear(latent + self.join.width, widths[0] * positions, bias=norm is None),
            nn.Unflatten(1, (widths[0], positions)),
        )
        last = nn.ConvTranspose1d(widths[-1], shape[0], KERNEL, STRIDE, padding=11, output_padding=1)
        stages = [hidden_layer(up(a, b), b, norm, nn.ReLU()) for a, b in pairwise(widths)]
        self.layers = ConditionalSequential(
            hidden_layer(dense, widths[0], norm, nn.ReLU()), *stages, last, nn.Tanh()
        )  # fmt: skip
        self.apply(_init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return waveforms [N, C, L]."""
        return self.layers(self.join(torch.cat(list(latent.values()), 1), condition), condition)


class Discriminator(discriminator.Discriminator):
    """Waveforms [N, C, L] -> one logit; hidden layers conv1 to conv5, flat.

    width      channels of the first hidden layer, a 16th of those of the last
    radius     of the phase shuffle, in positions; 0: none, and the game needs no numbers for it
    condition  channels of each entry of the condition that is concatenated to x, by its name
    Raises ValueError unless L is a multiple of 1,024.
    """

    modality = "audio"

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        radius: int = 2,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        positions = _positions(shape)
        join = Concatenation(condition)
        widths = [shape[0] + join.width, *(width * 2**i for i in range(STAGES))]
        trunk: dict[str, nn.Module] = {}
        for i, (a, b) in enumerate(pairwise(widths), 1):
            convolution = nn.Conv1d(a, b, KERNEL, STRIDE, padding=11)
            layers: list[nn.Module] = [hidden_layer(convolution, b, norm if i > 1 else None, nn.LeakyReLU(0.2))]
            if condition and i == 1:
                layers.insert(0, join)
            if radius and i < STAGES:
                layers.append(PhaseShuffle(radius, column=i - 1))
            trunk[f"conv{i}"] = ConditionalSequential(*layers)
        super().__init__({**trunk, "flat": nn.Flatten()}, widths[-1] * positions, **head)
        self.apply(_init_weights)


def _positions(shape: Sequence[int]) -> int:
    """Return L / 1,024.  Raises ValueError unless it is a positive integer."""
    if len(shape) != 2 or shape[1] % FACTOR or not shape[1]:
        raise ValueError(
            f"wavegan makes waveforms [channels, length] of a multiple of {FACTOR:,} samples, but the data have shape "
            f"{list(shape)}: set data.length=8_192, or choose architecture=mlp"
        )
    return shape[1] // FACTOR


def _init_weights(module: nn.Module) -> None:
    """Draw the weights of one module Glorot-uniform; biases are 0."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
