"""Weight normalisation: separate direction and length of each weight vector, with data-dependent initialisation.

    h = scale * (theta . x) / ||theta|| + bias,    theta ~ N(0, std^2),   per output unit or channel

Initialisation passes one batch through the network. Each layer in turn sets scale <- scale start / s and
bias <- -m start / s, where m and s are the mean and standard deviation of its output. Then pre-activations have mean 0
and standard deviation `start`.

Salimans & Kingma 2016 (arXiv:1602.07868), sections 2 and 3; the code of Salimans et al. 2016 (openai/improved-gan,
nn.py) can freeze scale after the initialisation.
"""

from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.mode import in_mode
from saddlepoint.turn import UNCONDITIONAL, Condition

LINEAR = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class WeightNorm(nn.Module):
    """A weight-normalised linear map.  As a norm of an architecture it wraps the map before it (`wrap`).

    features   output units or channels
    std        initial standard deviation of theta. The output does not depend on the length of theta, so std sets only
               how fast its direction changes
    trainable  whether scale is learned, or fixed after the initialisation
    start      standard deviation of the pre-activations after the initialisation; None: keep scale 1 and bias 0
    Raises ValueError unless std and start are above 0.
    """

    scale: Tensor

    def __init__(self, features: int, std: float = 0.1, trainable: bool = False, start: float | None = 1.0) -> None:
        super().__init__()
        for name, value in {"std": std, "start": start}.items():
            if value is not None and value <= 0:
                raise ValueError(f"weight norm: {name}={value} must be above 0")
        self.std, self.trainable, self.start = std, trainable, start
        self.linear: Any = None
        self.awaiting = False  # whether the next batch initialises the layer
        self._create_parameters(features)

    def wrap(self, linear: nn.Module) -> nn.Module:
        """Wrap `linear` and return this layer.  In a Sequential, wrap its first layer and return a Sequential.

        Raises ValueError if `linear` is not a supported linear map.
        """
        if isinstance(linear, nn.Sequential):
            return nn.Sequential(self.wrap(linear[0]), *linear[1:])
        if not isinstance(linear, LINEAR) or getattr(linear, "groups", 1) != 1:
            raise ValueError(f"weight norm is for Linear, Conv2d and ConvTranspose2d in one group, not {linear}")
        linear.register_parameter("bias", None)  # this layer adds its own bias after the scale
        self._create_parameters(linear.out_features if isinstance(linear, nn.Linear) else linear.out_channels)
        self.linear = linear
        nn.init.normal_(linear.weight, 0.0, self.std)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return scale * linear(x) / ||theta|| + bias, [N, features, ...]."""
        if self.linear is None:
            raise ValueError("weight norm has no linear map to normalise; use it as the norm after a linear map")
        output_axis = 1 if isinstance(self.linear, nn.ConvTranspose2d) else 0  # the axis of theta for output channels
        length = torch.linalg.vector_norm(self.linear.weight.transpose(0, output_axis).flatten(1), dim=1)
        # scaling the output equals scaling theta, and is cheaper if the batch is smaller than the layer
        h = self.linear(x)
        column = (-1, *[1] * (h.ndim - 2))
        if self.awaiting:
            self._init_from_batch(h / length.view(column))
        return h * (self.scale / length).view(column) + self.bias.view(column)

    def data_dependent_init(self, network: nn.Module, x: Any, condition: Condition = UNCONDITIONAL) -> None:
        """Initialise `network`, which contains this layer, from x unless it is initialised; called by a game."""
        if self.start is not None and not self._initialised:
            initialise_from_data(network, x, condition)

    def extra_repr(self) -> str:
        return f"{len(self.bias)}, std={self.std}, trainable={self.trainable}, start={self.start}"

    def _create_parameters(self, features: int) -> None:
        scale = torch.ones(features)
        if self.trainable:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)  # a buffer, so that requires_grad_() cannot unfreeze it
        self.bias = nn.Parameter(torch.zeros(features))
        self._initialised = False

    @torch.no_grad()
    def _init_from_batch(self, direction: Tensor) -> None:
        """Set scale and bias so that the output for direction [N, features, ...] has mean 0 and deviation `start`."""
        axes = [0, *range(2, direction.ndim)]
        if direction.numel() < 2 * direction.shape[1]:
            raise ValueError("weight norm cannot initialise from one value per unit: it needs a batch of at least 2")
        deviation, mean = torch.std_mean(direction.double(), axes, correction=0)
        dead = deviation <= 1e-6 * mean.abs()  # a constant unit has no deviation to scale
        gain = float(self.start or 1.0) / torch.where(dead, torch.ones_like(deviation), deviation)
        self.scale.copy_(gain)
        self.bias.copy_(-mean * gain)
        self.awaiting, self._initialised = False, True


def weight_norm(linear: nn.Module, std: float = 0.1, trainable: bool = False, start: float | None = 1.0) -> nn.Module:
    """Return `linear` (Linear, Conv2d or ConvTranspose2d) weight-normalised; the layer's bias replaces its bias."""
    return WeightNorm(1, std, trainable, start).wrap(linear)


@torch.no_grad()
def initialise_from_data(network: nn.Module, x: Any, condition: Condition | None = None) -> None:
    """Initialise every weight-normalised layer of `network` in one forward pass of x, its input, and the condition.

    The pass is in training mode (noise and dropout on), as in the authors' code; the running statistics of batch norm
    are restored.
    """
    layers = [m for m in network.modules() if isinstance(m, WeightNorm) and m.start is not None]
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    saved = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    try:
        for layer in layers:
            layer.awaiting = True
        with in_mode(network, training=True):
            network(*([x] if condition is None else [x, condition]))
    finally:
        for layer in layers:
            layer.awaiting = False
        for norm, buffers in zip(norms, saved, strict=True):
            for buffer, before in zip(norm.buffers(), buffers, strict=True):
                buffer.copy_(before)
