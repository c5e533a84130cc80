"""A layer of a style-based generator by hand: noise of one strength, then bias, then activation."""

import math

import torch
from torch.nn.functional import leaky_relu

from saddlepoint.layer.style_layer import StyleLayer


def test_noise_and_bias_are_added_to_the_convolution_before_the_activation() -> None:
    torch.manual_seed(0)
    for up in (False, True):
        layer = StyleLayer(3, 4, 5, up)
        x, w = torch.randn(2, 3, 6, 6), torch.randn(2, 5)
        convolved = layer.convolution(x, w)
        assert torch.allclose(layer(x, w), math.sqrt(2) * leaky_relu(convolved, 0.2)), "noise and bias start at 0"
        layer.noise.strength.data.fill_(0.5)
        layer.bias.data = torch.randn(4)
        side = 12 if up else 6
        torch.manual_seed(1)
        noise = torch.randn(2, 1, side, side)
        torch.manual_seed(1)
        expected = math.sqrt(2) * leaky_relu(convolved + 0.5 * noise + layer.bias[:, None, None], 0.2)
        assert torch.allclose(layer(x, w), expected, atol=1e-6)
