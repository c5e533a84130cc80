"""Weight normalisation: a linear map whose columns have a direction and a length of their own, and a start from data.

    h = scale * (theta . x) / ||theta|| + bias,    theta ~ N(0, std^2),   per output unit or channel

At the start one batch goes through the network, and each layer in turn sets scale <- scale start / s and bias <- -m
start / s, with m, s the mean and standard deviation of what it is about to answer: pre-activations start at mean 0 and
standard deviation `start`.

Salimans & Kingma 2016 (arXiv:1602.07868), sections 2 and 3; that scale may be frozen after the start is in the code of
Salimans et al. 2016 (openai/improved-gan, nn.py).
"""

from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.mode import in_mode
from saddlepoint.turn import UNCONDITIONAL, Condition

LINEAR = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class WeightNorm(nn.Module):
    """A linear map, weight-normalised: given as a norm it takes the map in front of it in (`around`).

    features   output units or channels
    std        of theta at the start: as the length of theta is no matter, it sets how fast its direction turns
    trainable  whether scale is learned, or stays where the start has put it
    start      standard deviation of the pre-activations after the start from data; None: scale 1 and bias 0 stay
    Raises ValueError where std or start is not above 0.
    """

    scale: Tensor

    def __init__(self, features: int, std: float = 0.1, trainable: bool = False, start: float | None = 1.0) -> None:
        super().__init__()
        for name, value in {"std": std, "start": start}.items():
            if value is not None and value <= 0:
                raise ValueError(f"weight norm: {name}={value} must be above 0")
        self.std, self.trainable, self.start = std, trainable, start
        self.linear: Any = None
        self.awaiting = False  # whether the batch that comes next is the one to start from
        self._size(features)

    def around(self, linear: nn.Module) -> nn.Module:
        """This layer, with `linear` as its map; in a Sequential that begins with one, in that one's place.

        Raises ValueError for what is no linear map.
        """
        if isinstance(linear, nn.Sequential):
            return nn.Sequential(self.around(linear[0]), *linear[1:])
        if not isinstance(linear, LINEAR) or getattr(linear, "groups", 1) != 1:
            raise ValueError(f"weight norm is for Linear, Conv2d and ConvTranspose2d in one group, not {linear}")
        linear.register_parameter("bias", None)  # it has one of its own, behind the scale
        self._size(linear.out_features if isinstance(linear, nn.Linear) else linear.out_channels)
        self.linear = linear
        nn.init.normal_(linear.weight, 0.0, self.std)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """[N, features, ...]: the map's answer, each unit's over the length of its theta, times scale, plus bias."""
        if self.linear is None:
            raise ValueError("weight norm has no linear map to normalise; it stands behind one, as a norm")
        own = 1 if isinstance(self.linear, nn.ConvTranspose2d) else 0  # the axis of theta that counts output channels
        length = torch.linalg.vector_norm(self.linear.weight.transpose(0, own).flatten(1), dim=1)
        # scaled behind the map, which is the same and, for a batch smaller than the layer, cheaper than scaling theta
        h = self.linear(x)
        column = (-1, *[1] * (h.ndim - 2))
        if self.awaiting:
            self._start(h / length.view(column))
        return h * (self.scale / length).view(column) + self.bias.view(column)

    def data_dependent_init(self, network: nn.Module, x: Any, condition: Condition = UNCONDITIONAL) -> None:
        """Have `network`, of which this is a layer, start from x, unless it has; a game asks for this."""
        if self.start is not None and not self._started:
            initialise_from_data(network, x, condition)

    def extra_repr(self) -> str:
        return f"{len(self.bias)}, std={self.std}, trainable={self.trainable}, start={self.start}"

    def _size(self, features: int) -> None:
        scale = torch.ones(features)
        if self.trainable:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)  # no parameter: nobody can thaw it by mistake
        self.bias = nn.Parameter(torch.zeros(features))
        self._started = False

    @torch.no_grad()
    def _start(self, direction: Tensor) -> None:
        """Set scale and bias so that direction [N, features, ...] comes out at mean 0, standard deviation `start`."""
        others = [0, *range(2, direction.ndim)]
        if direction.numel() < 2 * direction.shape[1]:
            raise ValueError("weight norm cannot start from one value per unit: it takes a batch of at least 2")
        spread, mean = torch.std_mean(direction.double(), others, correction=0)
        dead = spread <= 1e-6 * mean.abs()  # a unit that always says the same has no spread to scale
        gain = float(self.start or 1.0) / torch.where(dead, torch.ones_like(spread), spread)
        self.scale.copy_(gain)
        self.bias.copy_(-mean * gain)
        self.awaiting, self._started = False, True


def weight_norm(linear: nn.Module, std: float = 0.1, trainable: bool = False, start: float | None = 1.0) -> nn.Module:
    """`linear` (Linear, Conv2d or ConvTranspose2d), weight-normalised; its own bias is left out for the layer's."""
    return WeightNorm(1, std, trainable, start).around(linear)


@torch.no_grad()
def initialise_from_data(network: nn.Module, x: Any, condition: Condition | None = None) -> None:
    """Start every weight-normalised layer of `network` from x, in one forward pass: each sets itself, then answers.

    x is what `network` takes, with its condition where it has one.  The pass is one of training (noise and dropout
    on), as in the authors' code; batch norm's running statistics do not feel it.
    """
    layers = [m for m in network.modules() if isinstance(m, WeightNorm) and m.start is not None]
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    try:
        for layer in layers:
            layer.awaiting = True
        with in_mode(network, training=True):
            network(*([x] if condition is None else [x, condition]))
    finally:
        for layer in layers:
            layer.awaiting = False
        for norm, buffers in zip(norms, kept, strict=True):
            for buffer, before in zip(norm.buffers(), buffers, strict=True):
                buffer.copy_(before)
