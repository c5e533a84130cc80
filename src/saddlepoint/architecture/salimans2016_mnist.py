"""The perceptrons of semi-supervised MNIST.  Salimans et al. 2016 (arXiv:1606.03498), section 5.1.

Layers and numbers are those of the authors' code. There images live on [0, 1], here on [-1, 1], so G ends in
2 sigmoid - 1 and D begins with (x + 1) / 2. Were D to look at [-1, 1] as it is, every dark pixel would be a -1 and no
longer a 0: each turn of a direction would move the pre-activation by a sum over some six hundred of them.
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
from saddlepoint.layer.weight_norm import weight_norm
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> widths, norm and a shift, softplus -> shape, weight-normalised with a learned scale, 2 sigmoid - 1.

    Weights start Glorot-uniform. In the authors' code batch norm uses the batch's own statistics whenever G runs;
    here samples are drawn by its running ones, unless evaluation.batch_norm=batch.
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
        # its directions have length 1 and so has its scale: this layer does not start from data
        last = weight_norm(nn.Linear(sizes[-1], math.prod(shape)), trainable=True, start=None)
        self.layers = ConditionalSequential(*hidden, last, nn.Sigmoid())
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        self.shape = tuple(shape)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """[N, *shape] in [-1, 1] of latent parts [N, dim]."""
        return 2 * self.layers(torch.cat(list(latent.values()), 1), condition).unflatten(1, self.shape) - 1


class Discriminator(discriminator.Discriminator):
    """shape -> [0, 1] -> noise, weight-normalised, ReLU, for each of widths -> noise -> neck -> heads -> readout.

    Hidden layers hidden1, hidden2, ... are what leaves the ReLU, before the noise that the next one sees. Scales are
    frozen after the start from data, but for those of the heads. readout None: the log of the sum of exponentials of
    head `label`, where there is such a head. A head of size None (data without classes) is left out.
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
        layers[0] = nn.Sequential(nn.Flatten(), _Unit(), GaussianNoise(sizes[0], input_noise), *layers[0][1:])
        known = {name: size for name, size in (heads or {}).items() if size is not None}
        if readout is None and "label" in known:
            readout = LogSumExp
        super().__init__(
            {f"hidden{i}": layer for i, layer in enumerate(layers, 1)},
            sizes[-1],
            lambda features: _Noisy(features, noise, neck),
            readout,
        )
        features = getattr(self.neck, "features", sizes[-1])
        self.heads = nn.ModuleDict(
            {name: weight_norm(nn.Linear(features, size), std, trainable=True) for name, size in known.items()}
        )


class _Unit(nn.Module):
    """From [-1, 1] to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2


class _Noisy(nn.Module):
    """Noise, and the neck behind it."""

    def __init__(self, features: int, noise: float, neck: Callable[[int], nn.Module] | None) -> None:
        super().__init__()
        self.noise, self.neck = GaussianNoise(features, noise), nn.Identity() if neck is None else neck(features)
        self.features = getattr(self.neck, "features", features)

    def forward(self, x: Tensor) -> Tensor:
        """[N, features] of [N, F]."""
        return self.neck(self.noise(x))
