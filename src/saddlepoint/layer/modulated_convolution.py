"""A convolution whose weights are scaled by a style: modulation and demodulation of weights.

    s = A w,    w'_jik = s_i W_jik,    w''_jik = w'_jik / sqrt(sum over i, k of w'_jik^2 + 1e-8)

for input channel i, output channel j and position k. White input of variance 1 gives output of variance 1, whatever the
style (less with `up`, whose blur removes high frequencies).
Karras et al. 2019 (arXiv:1912.04958), section 2.2, eqs. 1 and 3. Input and output are scaled instead of the weights,
which is the same function with one convolution for all samples.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from saddlepoint.layer.equalized_learning_rate import EqualizedLinear
from saddlepoint.layer.resample import Blur


class ModulatedConvolution(nn.Module):
    """x [N, a, H, W] and w [N, dim] -> [N, b, H', W'], H' = 2 H with `up`, else H.

    up          insert zeros, convolve, and blur with taps 1, 3, 3, 1
    demodulate  whether to normalise the weights
    """

    def __init__(self, a: int, b: int, size: int, dim: int, up: bool = False, demodulate: bool = True) -> None:
        super().__init__()
        self.style = EqualizedLinear(dim, a, bias=1.0)
        self.weight = nn.Parameter(torch.randn(b, a, size, size))
        self.scale, self.padding = 1 / math.sqrt(a * size**2), size // 2
        self.blur = Blur(padding=self.padding) if up else None
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.style(w), self.weight * self.scale
        x = x * style[:, :, None, None]
        if self.blur is None:
            x = conv2d(x, weight, padding=self.padding)
        else:
            x = 4 * self.blur(conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        if not self.demodulate:
            return x
        square_norms = style.square() @ weight.square().sum((2, 3)).T  # [N, b]
        return x * (square_norms + 1e-8).rsqrt()[:, :, None, None]
