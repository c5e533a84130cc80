"""The networks of semi-supervised CIFAR-10 and SVHN.  Salimans et al. 2016 (arXiv:1606.03498), sections 5.2 and 5.3.

Layers and sizes are those of the authors' code. Images are scaled by (x - 127.5) / 127.5, as in its SVHN part; its
CIFAR-10 part divides by 128.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.gaussian_noise import GaussianNoise
from saddlepoint.layer.log_sum_exp import LogSumExp
from saddlepoint.layer.shift import append_shift
from saddlepoint.layer.weight_norm import weight_norm
from saddlepoint.turn import UNCONDITIONAL, Condition

STD = 0.05  # of the initial weights


class Generator(nn.Module):
    """latent -> 4 x 4 x 4 width -> transposed 5 x 5, stride 2: 2 width, width, C -> tanh, 32 x 32.

    Each hidden layer has a norm, a shift and a ReLU. The last layer is weight-normalised with a learned scale and
    initialised from data to standard deviation 0.1. In the authors' code batch norm always uses batch statistics in G;
    here sampling uses the running statistics, unless evaluation.batch_norm=batch.
    """

    def __init__(
        self, latent: int, shape: Sequence[int], width: int = 128, norm: Callable[[int], nn.Module] | None = None
    ) -> None:
        super().__init__()
        channels = _image_channels(shape)
        widths = [4 * width, 2 * width, width]

        def up(a: int, b: int, bias: bool) -> nn.Module:
            return nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1, bias=bias)

        # as in the authors' code, batch norm acts on 4 x 4 x 512 separate units, before the reshape to an image
        dense = hidden_layer(
            nn.Linear(latent, widths[0] * 16, bias=norm is None),
            widths[0] * 16,
            append_shift(_per_unit(norm)),
            nn.ReLU(),
        )
        stages = [hidden_layer(up(a, b, norm is None), b, append_shift(norm), nn.ReLU()) for a, b in pairwise(widths)]
        last = weight_norm(up(widths[-1], channels, True), STD, trainable=True, start=0.1)
        self.layers = ConditionalSequential(dense, nn.Unflatten(1, (widths[0], 4, 4)), *stages, last, nn.Tanh())
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, STD)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, 32, 32] in [-1, 1] for latent parts [N, dim]."""
        return self.layers(torch.cat(list(latent.values()), 1), condition)


class Discriminator(discriminator.Discriminator):
    """Nine weight-normalised convolutions with leaky ReLU 0.2, and the mean over space.

    dropout 0.2 -> 3 x 3: narrow, narrow, narrow / 2 -> dropout 0.5 -> 3 x 3: wide, wide, wide / 2 -> dropout 0.5 ->
    3 x 3 without padding: wide -> 1 x 1: wide, wide -> mean. (/ 2: stride 2.) Hidden layers conv1, ..., conv9, mean.
    Scales are fixed after the initialisation from data, except those of the heads, initialised to deviation 0.1.
    The authors' code has widths 96 and 192 for CIFAR-10, 64 and 128 for SVHN. With minibatch discrimination (100
    kernels, as the neck) it has Gaussian noise 0.2 on the input instead of the first dropout. readout None: LogSumExp
    of head `label` if that head exists. A head of size None (data without classes) is omitted.
    """

    def __init__(
        self,
        shape: Sequence[int],
        narrow: int = 96,
        wide: int = 192,
        input_dropout: float = 0.2,
        input_noise: float = 0.0,
        dropout: float = 0.5,
        neck: Callable[[int], nn.Module] | None = None,
        readout: Callable[[int], nn.Module] | None = None,
        heads: Mapping[str, int | None] | None = None,
    ) -> None:
        def convolution(a: int, b: int, size: int = 3, stride: int = 1, padding: int = 1, drop: float = 0.0) -> Any:
            normalised = weight_norm(nn.Conv2d(a, b, size, stride, padding), STD)
            return nn.Sequential(*([nn.Dropout(drop)] if drop else []), normalised, nn.LeakyReLU(0.2))

        layers = [
            convolution(_image_channels(shape), narrow, drop=input_dropout),
            convolution(narrow, narrow),
            convolution(narrow, narrow, stride=2),
            convolution(narrow, wide, drop=dropout),
            convolution(wide, wide),
            convolution(wide, wide, stride=2),
            convolution(wide, wide, padding=0, drop=dropout),
            convolution(wide, wide, 1, padding=0),
            convolution(wide, wide, 1, padding=0),
        ]
        if input_noise:
            layers[0] = nn.Sequential(GaussianNoise(_image_channels(shape), input_noise), *layers[0])
        sizes = {name: size for name, size in (heads or {}).items() if size is not None}
        if readout is None and "label" in sizes:
            readout = LogSumExp
        trunk = {f"conv{i}": layer for i, layer in enumerate(layers, 1)}
        mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        super().__init__({**trunk, "mean": mean}, wide, neck, readout)
        features = getattr(self.neck, "features", wide)
        self.heads = nn.ModuleDict(
            {
                name: weight_norm(nn.Linear(features, size), STD, trainable=True, start=0.1)
                for name, size in sizes.items()
            }
        )


def _per_unit(norm: Callable[[int], nn.Module] | None) -> Callable[[int], nn.Module] | None:
    """Adapt `norm` to [N, features]: a 2d norm gets a spatial size of 1 x 1."""
    if norm is None:
        return None

    def build(features: int) -> nn.Module:
        module = norm(features)
        is_2d = isinstance(module, nn.BatchNorm2d)
        return module if not is_2d else ConditionalSequential(nn.Unflatten(1, (features, 1, 1)), module, nn.Flatten())

    return build


def _image_channels(shape: Sequence[int]) -> int:
    """Return C of [C, 32, 32].  Raises ValueError for any other shape."""
    if tuple(shape[1:]) != (32, 32):
        raise ValueError(
            f"salimans2016_cifar makes 32 x 32 images, but the data have shape {list(shape)}; "
            "try data.size=32 of images, or architecture=mlp"
        )
    return shape[0]
