"""The networks of StyleGAN2: a style-based generator, and a residual or plain discriminator.

    z -> w;    constant 4 x 4 -> [modulated 3 x 3, noise, bias, leaky ReLU] per layer;    x = sum of upsampled RGB

Karras et al. 2019 (arXiv:1912.04958), section 2 and figure 7 (skip generator, residual discriminator). For CIFAR-10 the
code of Karras et al. 2020 (arXiv:2006.06676, `cfg=cifar`) has two mapping layers, a plain discriminator and groups of
32. Differences: noise is off in evaluation (`layer.noise_injection`), style mixing is drawn per sample
(`layer.style_mixing`), and a class is a map beside the pixels in D, or the readout `projection`, whose embedding is not
a mapping network.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential
from saddlepoint.layer.equalized_learning_rate import EqualizedConv2d, EqualizedLinear, ScaledLeakyReLU
from saddlepoint.layer.mapping_network import MappingNetwork
from saddlepoint.layer.minibatch_standard_deviation import MinibatchStandardDeviation
from saddlepoint.layer.modulated_convolution import ModulatedConvolution
from saddlepoint.layer.readout import LinearReadout
from saddlepoint.layer.resample import Blur, Downsample, Upsample
from saddlepoint.layer.style_layer import StyleLayer
from saddlepoint.layer.style_mixing import mix_styles
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> w -> [up, two style layers, RGB] per resolution; returns samples and the w of every layer.

    width       channels up to 64 x 64 pixels, and of w; halved with each doubling from there
    depth, multiplier, decay   of the mapping network (`layer.mapping_network`)
    mixing      probability that a sample has the w of another latent from a random layer on, if the condition has
                mixing_latent [N, latent] and mixing_numbers [N, 2], uniform on [0, 1) (`game=style_mixing`)
    condition   width of each entry of the condition that is embedded by the mapping network, by its name
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 512,
        depth: int = 8,
        multiplier: float = 0.01,
        decay: float = 0.995,
        mixing: float = 0.9,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        if not 0 <= mixing <= 1:
            raise ValueError(f"style: mixing={mixing} is a probability, from 0 to 1")
        widths = _channels(shape, width)
        self.mixing, self.join = mixing, Concatenation(condition)
        self.mapping = MappingNetwork(latent, width, depth, multiplier, decay, self.join.width)
        self.constant = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.layers = nn.ModuleList([StyleLayer(widths[0], widths[0], width)])
        for a, b in pairwise(widths):
            self.layers.extend([StyleLayer(a, b, width, up=True), StyleLayer(b, b, width)])
        self.to_rgb = nn.ModuleList(ModulatedConvolution(b, shape[0], 1, width, demodulate=False) for b in widths)
        self.biases = nn.ParameterList(torch.zeros(shape[0], 1, 1) for _ in widths)
        self.upsample = Upsample()

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> tuple[Tensor, Tensor]:
        """Return images [N, C, H, W], unbounded, and w [N, layers + 1, width], whose last is that of the last RGB."""
        w = self.styles(torch.cat(list(latent.values()), 1), condition)
        x, image = self.constant.expand(w.shape[0], -1, -1, -1), w
        for i, layer in enumerate(self.layers):
            x = layer(x, w[:, i])
            if i % 2 == 0:  # the last layer of a resolution; its RGB has the w of the next layer
                rgb = self.to_rgb[i // 2](x, w[:, i + 1]) + self.biases[i // 2]
                image = rgb if i == 0 else self.upsample(image) + rgb
        return image, w

    def styles(self, z: Tensor, condition: Condition) -> Tensor:
        """Return w per layer, [N, layers + 1, width], mixed if the condition has another latent."""
        count = len(self.layers) + 1
        entries = self.join(z[:, :0], condition)  # [N, width of the condition]
        if (other := condition.get("mixing_latent")) is None:
            return self.mapping(z, entries)[:, None].expand(-1, count, -1)
        w, other = self.mapping(torch.cat([z, other]), torch.cat([entries, entries])).chunk(2)
        return mix_styles(w, other, condition["mixing_numbers"], self.mixing, count)


class EqualizedReadout(LinearReadout):
    """One logit, with an equalized learning rate."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.linear = EqualizedLinear(features, 1)


class DownBlock(nn.Module):
    """[N, a, H, W] -> [N, b, H / 2, W / 2]: 3 x 3, blur and 3 x 3 of stride 2, with leaky ReLUs.

    With `residual`: plus a shortcut [down, 1 x 1], the sum divided by sqrt 2.
    """

    def __init__(self, a: int, b: int, residual: bool) -> None:
        super().__init__()
        down = (Blur(padding=2), EqualizedConv2d(a, b, 3, stride=2, padding=0))
        self.layers = nn.Sequential(EqualizedConv2d(a, a, 3), ScaledLeakyReLU(), *down, ScaledLeakyReLU())
        self.shortcut = nn.Sequential(Downsample(), EqualizedConv2d(a, b, 1, bias=False)) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) if self.shortcut is None else (self.layers(x) + self.shortcut(x)) / math.sqrt(2)


class Discriminator(discriminator.Discriminator):
    """1 x 1 -> a down block per resolution -> 4 x 4: minibatch deviation, 3 x 3, linear -> one logit.

    width      channels up to 64 x 64 pixels; halved with each doubling from there
    residual   whether down blocks have shortcuts
    group      samples of a minibatch deviation (`layer.minibatch_standard_deviation`)
    condition  channels of each entry of the condition that is concatenated to x, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 512,
        residual: bool = True,
        group: int = 4,
        condition: Mapping[str, int] = NO_CONDITION,
        readout: Callable[[int], nn.Module] | None = None,
        **head: Any,
    ) -> None:
        widths, join = _channels(shape, width)[::-1], Concatenation(condition)
        first = (EqualizedConv2d(shape[0] + join.width, widths[0], 1), ScaledLeakyReLU())
        trunk: dict[str, nn.Module] = {"pixels": ConditionalSequential(join, *first)}
        for i, (a, b) in enumerate(pairwise(widths), 1):
            trunk[f"block{i}"] = DownBlock(a, b, residual)
        last = widths[-1]
        deviation = MinibatchStandardDeviation(last, group)
        trunk["maps"] = nn.Sequential(deviation, EqualizedConv2d(last + 1, last, 3), ScaledLeakyReLU())
        trunk["linear"] = nn.Sequential(nn.Flatten(), EqualizedLinear(16 * last, last), ScaledLeakyReLU())
        super().__init__(trunk, last, readout=readout or EqualizedReadout, **head)


def _channels(shape: Sequence[int], width: int) -> list[int]:
    """Return the channels at 4 x 4, 8 x 8, ...  Raises ValueError unless H = W = 4 * 2^k with k at least 1."""
    side = shape[-1]
    if len(shape) != 3 or shape[1] != side or side < 8 or side & (side - 1):
        raise ValueError(
            f"style makes square images of 8, 16, 32, ... pixels, but the data have shape {list(shape)}; try "
            "data.size=32 of images, or architecture=mlp"
        )
    sides = [2**k for k in range(2, side.bit_length())]
    return [min(width, 64 * width // s) for s in sides]
