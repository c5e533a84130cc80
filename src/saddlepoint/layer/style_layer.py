"""A layer of a style-based generator: a modulated 3 x 3 convolution, noise, bias and leaky ReLU.

Karras et al. 2019 (arXiv:1912.04958), figure 2 d; the noise has one learned strength, which starts at 0.
"""

import torch
from torch import Tensor, nn

from saddlepoint.layer.equalized_learning_rate import ScaledLeakyReLU
from saddlepoint.layer.modulated_convolution import ModulatedConvolution
from saddlepoint.layer.noise_injection import NoiseInjection


class StyleLayer(nn.Module):
    """x [N, a, H, W] and w [N, dim] -> [N, b, H', W'], H' = 2 H with `up`, else H."""

    def __init__(self, a: int, b: int, dim: int, up: bool = False) -> None:
        super().__init__()
        self.convolution = ModulatedConvolution(a, b, 3, dim, up)
        self.noise, self.bias, self.activation = NoiseInjection(1), nn.Parameter(torch.zeros(b)), ScaledLeakyReLU()

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.activation(self.noise(self.convolution(x, w)) + self.bias[:, None, None])
