"""Equalized learning rate: weights ~ N(0, 1), multiplied by a constant in every forward pass.

    y = multiplier (W x / sqrt(fan_in) + b),    W ~ N(0, 1 / multiplier^2)

Adam's steps do not depend on the scale of a gradient, so all layers learn at the same relative speed, those with a
`multiplier` slower by this factor. Karras et al. 2017 (arXiv:1710.10196), section 4.1; the multiplier: Karras et al.
2018 (arXiv:1812.04948), appendix C.
"""

import math

from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear


class EqualizedLinear(nn.Linear):
    """[..., a] -> [..., b]; `bias` is the initial output for x = 0."""

    def __init__(self, a: int, b: int, bias: float = 0.0, multiplier: float = 1.0) -> None:
        super().__init__(a, b)
        self.multiplier, self.scale = multiplier, multiplier / math.sqrt(a)
        nn.init.normal_(self.weight, 0.0, 1 / multiplier)
        nn.init.constant_(self.bias, bias / multiplier)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.scale, self.bias * self.multiplier)


class EqualizedConv2d(nn.Conv2d):
    """[N, a, H, W] -> [N, b, H', W'], with zeros around x so that H' = H at stride 1, or with `padding` of them."""

    def __init__(
        self, a: int, b: int, size: int, stride: int = 1, padding: int | None = None, bias: bool = True
    ) -> None:
        super().__init__(a, b, size, stride, size // 2 if padding is None else padding, bias=bias)
        self.scale = 1 / math.sqrt(a * size**2)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.scale, self.bias)


class ScaledLeakyReLU(nn.Module):
    """sqrt 2 leaky_relu(x, 0.2): the mean square of normal x stays about 1 (it becomes 1.04)."""

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, 0.2) * math.sqrt(2)
