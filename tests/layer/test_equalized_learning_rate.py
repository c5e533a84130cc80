"""Equalized learning rate: the scale of outputs, the relative speed of layers, and the plain layers they equal."""

import math

import pytest
import torch
from torch.nn.functional import conv2d, linear

from saddlepoint.layer.equalized_learning_rate import EqualizedConv2d, EqualizedLinear, ScaledLeakyReLU


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_outputs_start_with_variance_1_and_the_bias_whatever_the_multiplier(multiplier: float) -> None:
    torch.manual_seed(0)
    layer = EqualizedLinear(400, 300, bias=1.0, multiplier=multiplier)
    y = layer(torch.randn(500, 400)).detach()
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    assert y.std().item() == pytest.approx(1, rel=0.02)
    weight, bias = multiplier * layer.weight / 20, multiplier * layer.bias
    x = torch.randn(3, 400)
    assert torch.allclose(layer(x), linear(x, weight, bias), atol=1e-5)


def test_a_step_of_adam_moves_the_function_of_each_layer_by_its_multiplier_over_the_root_of_its_inputs() -> None:
    """The first step of Adam changes every stored weight by lr, whatever the gradient."""
    torch.manual_seed(0)
    for fan_in, multiplier in ((16, 1.0), (64, 1.0), (64, 0.01)):
        layer = EqualizedLinear(fan_in, 1, multiplier=multiplier)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        unit = torch.zeros(1, fan_in)
        unit[0, 0] = 1.0
        layer(unit).sum().backward()
        before = (layer(unit) - layer(0 * unit)).item()
        optimizer.step()
        change = before - (layer(unit) - layer(0 * unit)).item()
        assert change == pytest.approx(0.1 * multiplier / math.sqrt(fan_in), rel=1e-3)


def test_a_convolution_equals_one_with_scaled_weights_at_any_stride_and_padding() -> None:
    x = torch.randn(2, 3, 9, 9)
    for stride, padding in ((1, None), (2, 0)):
        layer = EqualizedConv2d(3, 4, 3, stride, padding)
        assert not layer.bias.any()
        layer.bias.data.normal_()
        expected = conv2d(x, layer.weight / math.sqrt(27), layer.bias, stride, 1 if padding is None else padding)
        assert torch.allclose(layer(x), expected, atol=1e-5)
    assert EqualizedConv2d(3, 4, 1, bias=False).bias is None


def test_the_activation_keeps_the_mean_square_of_normal_inputs_up_to_1_04() -> None:
    torch.manual_seed(0)
    assert ScaledLeakyReLU()(torch.randn(200_000)).square().mean().item() == pytest.approx(1.04, abs=0.01)
