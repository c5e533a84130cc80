"""HiFi-GAN: a vocoder from mel spectrograms to waveforms, and its discriminators.  Kong et al. 2020 (arXiv:2010.05646).

    G   convolution of 7 -> stages [transposed convolution by `upsampling`, sum of residual blocks of several widths]
        -> tanh
    D   one network per period p, on the waveform folded to [L / p, p] (section 2.3, multi-period), and one per scale,
        on the waveform averaged over 1, 2, 4, ... samples (multi-scale)

The residual blocks are those of the paper's version V3, two dilated convolutions each. Smaller than the paper's, and
without its weight and spectral norms. Weights of G start from N(0, 0.01^2), as there.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, leaky_relu, pad

from saddlepoint.error import Mistake
from saddlepoint.turn import UNCONDITIONAL, Condition, DiscriminatorOutput

SLOPE = 0.1  # of leaky ReLUs
DILATIONS = ([1, 2], [2, 6], [3, 12])  # of version V3
BINS = 64  # of `saddlepoint.modality.mel`
PERIOD_WIDTHS, SCALE_WIDTHS = (1, 4, 8, 8), (1, 2, 4, 4)  # channels of hidden layers, in units of `width`


class Residual(nn.Module):
    """x + c_2(x + c_1(x)) with the ReLUs before the convolutions c of one width and two dilations; [N, F, T]."""

    def __init__(self, features: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(features, features, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = x + convolution(leaky_relu(x, SLOPE))
        return x


class Generator(nn.Module):
    """Log-mel spectrograms [N, C, 64, T] -> waveforms [N, C, T hop] in [-1, 1].

    shape       [C, L] of the waveforms
    width       channels of the first layer, halved by each stage
    upsampling  factors of the stages; their product is the hop of the spectrograms, 128 samples at 8,000 per second
    kernels     widths of the residual blocks
    dilations   of the two convolutions of each of these
    Raises ValueError if the product does not divide L, or the stages halve the width below 1.
    """

    modality = "audio"

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 128,
        upsampling: Sequence[int] = (8, 4, 4),
        kernels: Sequence[int] = (3, 5, 7),
        dilations: Sequence[Sequence[int]] = DILATIONS,
    ) -> None:
        super().__init__()
        hop = prod(upsampling)
        if len(shape) != 2 or shape[1] % hop:
            raise ValueError(
                f"hifigan makes waveforms [channels, length], and upsampling={list(upsampling)} makes {hop} samples of "
                f"each frame, but the data have shape {list(shape)}: set upsampling to factors of the hop"
            )
        if len(kernels) != len(dilations) or width >> len(upsampling) < 1:
            raise ValueError(
                f"hifigan: kernels={list(kernels)} need an entry of dilations each, and width={width} must be at least "
                f"{2 ** len(upsampling)}"
            )
        self.channels = shape[0]
        widths = [width >> i for i in range(len(upsampling) + 1)]
        self.first = nn.Conv1d(shape[0] * BINS, width, 7, padding=3)
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(a, b, 2 * factor, factor, padding=factor // 2 + factor % 2, output_padding=factor % 2)
            for (a, b), factor in zip(pairwise(widths), upsampling, strict=True)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(Residual(b, k, d) for k, d in zip(kernels, dilations, strict=True)) for b in widths[1:]
        )
        self.last = nn.Conv1d(widths[-1], shape[0], 7, padding=3)
        self.apply(_init_weights)

    def forward(self, mel: Any, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return waveforms.  Raises Mistake if the input is not a spectrogram of as many bins and channels."""
        if not isinstance(mel, Tensor) or mel.ndim != 4 or mel.shape[1:3] != (self.channels, BINS):
            form = list(mel.shape) if isinstance(mel, Tensor) else "a latent"
            raise Mistake(
                f"hifigan makes waveforms of log-mel spectrograms [N, {self.channels}, {BINS}, frames], not of {form}: "
                "use game=vocoder"
            )
        x = self.first(mel.flatten(1, 2))
        for up, blocks in zip(self.up, self.blocks, strict=True):
            x = up(leaky_relu(x, SLOPE))
            x = torch.stack([block(x) for block in blocks]).mean(0)  # pyright: ignore[reportGeneralTypeIssues]
        return torch.tanh(self.last(leaky_relu(x, SLOPE)))


class Period(nn.Module):
    """Waveforms [N, C, L] -> hidden layers and logits of the waveform folded to [N, C, L / period, period]."""

    def __init__(self, channels: int, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = [channels, *(width * factor for factor in PERIOD_WIDTHS)]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in pairwise(widths))
        self.convolutions.append(nn.Conv2d(widths[-1], widths[-1], (5, 1), 1, (2, 0)))
        self.readout = nn.Conv2d(widths[-1], 1, (3, 1), 1, (1, 0))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        x = pad(x, (0, -x.shape[2] % self.period), mode="reflect").unflatten(2, (-1, self.period))
        return _layers(self.convolutions, self.readout, x)


class Scale(nn.Module):
    """Waveforms [N, C, L] -> hidden layers and logits of the waveform averaged over `pooling` samples."""

    def __init__(self, channels: int, pooling: int, width: int) -> None:
        super().__init__()
        self.pooling = pooling
        widths = [channels, *(width * factor for factor in SCALE_WIDTHS)]
        forms = [(15, 1, 1), (41, 4, 4), (41, 4, 4), (41, 4, 4)]  # kernel, stride, groups
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, kernel, stride, kernel // 2, groups=groups)
            for (a, b), (kernel, stride, groups) in zip(pairwise(widths), forms, strict=True)
        )
        self.convolutions.append(nn.Conv1d(widths[-1], widths[-1], 5, 1, 2))
        self.readout = nn.Conv1d(widths[-1], 1, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        return _layers(self.convolutions, self.readout, avg_pool1d(x, self.pooling) if self.pooling > 1 else x)


class Discriminator(nn.Module):
    """Waveforms [N, C, L] -> the logits of all networks, concatenated, [N, M], and their hidden layers by name.

    periods  one network for each, with hidden layers period2.conv1, ...
    scales   number of networks of 1, 2, 4, ... samples, with hidden layers scale1.conv1, ...
    width    channels of their first layers, a multiple of 4
    Objectives take the mean over all logits, in which a network counts by its number of logits: of 8,192 samples about
    100 for each period, and 128, 64 and 32 for three scales. The paper adds the means of the networks, so that its loss
    is as many times larger (game.players.generator.weight).
    Raises ValueError without networks, for periods below 1, and another width.
    """

    modality = "audio"

    def __init__(
        self, shape: Sequence[int], periods: Sequence[int] = (2, 3, 5, 7, 11), scales: int = 3, width: int = 8
    ) -> None:
        super().__init__()
        if len(periods) + scales < 1 or min([1, *periods]) < 1 or width % 4 or width < 4:
            raise ValueError(
                f"hifigan: periods={list(periods)} and scales={scales} must be one network or more, periods 1 or more, "
                f"and width={width} a multiple of 4"
            )
        networks = {f"period{p}": Period(shape[0], p, width) for p in periods}
        networks |= {f"scale{2**i}": Scale(shape[0], 2**i, width) for i in range(scales)}
        self.networks = nn.ModuleDict(networks)

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> DiscriminatorOutput:
        features: dict[str, Tensor] = {}
        logits = []
        for name, network in self.networks.items():
            hidden, one = network(x)
            features |= {f"{name}.conv{i}": layer for i, layer in enumerate(hidden, 1)}
            logits.append(one.flatten(1))
        return DiscriminatorOutput(torch.cat(logits, 1), features, {})


def _layers(convolutions: nn.ModuleList, readout: nn.Module, x: Tensor) -> tuple[list[Tensor], Tensor]:
    hidden = []
    for convolution in convolutions:
        x = leaky_relu(convolution(x), SLOPE)
        hidden.append(x)
    return hidden, readout(x)


def _init_weights(module: nn.Module) -> None:
    """Draw the weights of one convolution from N(0, 0.01^2)."""
    if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
        nn.init.normal_(module.weight, 0.0, 0.01)
