"""The multilayer perceptrons of semi-supervised MNIST.  Salimans et al. 2016 (arXiv:1606.03498), section 5.1.

Layers and sizes are those of the authors' code. Its images are in [0, 1], here in [-1, 1], so G ends in 2 sigmoid - 1
and D starts with (x + 1) / 2. Without the latter, dark pixels would be -1 instead of 0, and each change of a weight's
direction would shift the pre-activation by a sum over about six hundred of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.gaussian_noise import GaussianNoise
from saddlepoint.layer.log_sum_exp import LogSumExp
from saddlepoint.layer.shift import append_shift
from saddlepoint.layer.unit_range import UnitRange
from saddlepoint.layer.weight_norm import weight_norm
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> widths, norm and a shift, softplus -> shape, weight-normalised with a learned scale, 2 sigmoid - 1.

    Weights start Glorot-uniform. In the authors' code batch norm always uses batch statistics in G; here sampling uses
    the running statistics, unless evaluation.batch_norm=batch.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        widths: Sequence[int] = (500, 500),
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        sizes = [latent, *widths]
        hidden = [
            hidden_layer(nn.Linear(a, b, bias=norm is None), b, append_shift(norm), nn.Softplus())
            for a, b in pairwise(sizes)
        ]
        # direction and scale both start at length 1: this layer is not initialised from data
        last = weight_norm(nn.Linear(sizes[-1], math.prod(shape)), trainable=True, start=None)
        self.layers = ConditionalSequential(*hidden, last, nn.Sigmoid())
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        self.shape = tuple(shape)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, *shape] in [-1, 1] for latent parts [N, dim]."""
        return 2 * self.layers(torch.cat(list(latent.values()), 1), condition).unflatten(1, self.shape) - 1


class Discriminator(discriminator.Discriminator):
    """shape -> [0, 1] -> [noise, weight-normalised linear, ReLU] per width -> noise -> neck -> heads -> readout.

    The features hidden1, hidden2, ... are the outputs of the ReLUs, without the noise that follows. Scales are fixed
    after the initialisation from data, except those of the heads. readout None: LogSumExp of head `label` if that head
    exists. A head of size None (data without classes) is omitted.
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (1000, 500, 250, 250, 250),
        input_noise: float = 0.3,
        noise: float = 0.5,
        std: float = 0.1,
        neck: Callable[[int], nn.Module] | None = None,
        readout: Callable[[int], nn.Module] | None = None,
        heads: Mapping[str, int | None] | None = None,
    ) -> None:
        sizes = [math.prod(shape), *widths]
        layers = [
            nn.Sequential(GaussianNoise(a, noise), weight_norm(nn.Linear(a, b), std), nn.ReLU())
            for a, b in pairwise(sizes)
        ]
        layers[0] = nn.Sequential(nn.Flatten(), UnitRange(), GaussianNoise(sizes[0], input_noise), *layers[0][1:])
        head_sizes = {name: size for name, size in (heads or {}).items() if size is not None}
        if readout is None and "label" in head_sizes:
            readout = LogSumExp
        super().__init__(
            {f"hidden{i}": layer for i, layer in enumerate(layers, 1)},
            sizes[-1],
            lambda features: _NoisyNeck(features, noise, neck),
            readout,
        )
        features = getattr(self.neck, "features", sizes[-1])
        self.heads = nn.ModuleDict(
            {name: weight_norm(nn.Linear(features, size), std, trainable=True) for name, size in head_sizes.items()}
        )


class _NoisyNeck(nn.Module):
    """Noise followed by the neck."""

    def __init__(self, features: int, noise: float, neck: Callable[[int], nn.Module] | None) -> None:
        super().__init__()
        self.noise, self.neck = GaussianNoise(features, noise), nn.Identity() if neck is None else neck(features)
        self.features = getattr(self.neck, "features", features)

    def forward(self, x: Tensor) -> Tensor:
        """[N, F] -> [N, features]."""
        return self.neck(self.noise(x))
