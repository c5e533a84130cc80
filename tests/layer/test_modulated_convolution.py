"""Modulated convolutions: against convolutions with a kernel per sample, and the laws of demodulation."""

import math

import pytest
import torch
from scipy.signal import upfirdn
from torch.nn.functional import conv2d

from saddlepoint.layer.modulated_convolution import ModulatedConvolution


def sample_weights(layer: ModulatedConvolution, w: torch.Tensor) -> torch.Tensor:
    """The weights of each sample by eqs. 1 and 3 of the paper, [N, b, a, k, k]."""
    a, size = layer.weight.shape[1], layer.weight.shape[2]
    weight = layer.style(w)[:, None, :, None, None] * layer.weight / math.sqrt(a * size**2)
    if layer.demodulate:
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    return weight


@pytest.mark.parametrize(("size", "demodulate"), [(3, True), (3, False), (1, False)])
def test_it_is_a_convolution_with_weights_per_sample(size: int, demodulate: bool) -> None:
    torch.manual_seed(0)
    layer = ModulatedConvolution(3, 4, size, 5, demodulate=demodulate).double()
    x, w = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 5).double()
    weights = sample_weights(layer, w)
    expected = torch.cat([conv2d(x[i : i + 1], weights[i], padding=size // 2) for i in range(2)])
    assert torch.allclose(layer(x, w), expected)
    assert torch.equal(layer.style(torch.zeros(1, 5).double()), torch.ones(1, 3).double())  # at the start


def test_up_inserts_zeros_convolves_and_filters_with_1_3_3_1_as_scipy_does() -> None:
    """The order of the paper's code; the transposed convolution reads the kernel backwards."""
    torch.manual_seed(0)
    layer = ModulatedConvolution(2, 3, 3, 5, up=True).double()
    x, w = torch.randn(2, 2, 4, 4).double(), torch.randn(2, 5).double()
    wide = torch.zeros(2, 2, 11, 11).double()
    wide[:, :, 2:-2:2, 2:-2:2] = x
    weights = sample_weights(layer, w).flip(3, 4)
    y = torch.cat([conv2d(wide[i : i + 1], weights[i]) for i in range(2)]).detach().numpy()
    taps = [2 / 8, 6 / 8, 6 / 8, 2 / 8]
    for axis in (2, 3):
        y = upfirdn(taps, y, axis=axis).take(range(2, 10), axis)
    assert layer(x, w).shape == (2, 3, 8, 8)
    assert torch.allclose(layer(x, w), torch.from_numpy(y))


def test_demodulated_weights_have_norm_1_so_that_white_input_gives_variance_1_for_any_style() -> None:
    torch.manual_seed(0)
    layer = ModulatedConvolution(32, 48, 3, 8)
    w = 3 * torch.randn(4, 8)
    assert torch.allclose(sample_weights(layer, w).flatten(2).norm(dim=2), torch.ones(4, 48), atol=1e-5)
    inside = layer(torch.randn(4, 32, 34, 34), w)[..., 1:-1, 1:-1]
    for row in inside:
        assert row.var().item() == pytest.approx(1, rel=0.05)


def test_at_the_start_the_style_of_w_0_is_1_and_that_of_normal_w_has_variance_1() -> None:
    torch.manual_seed(0)
    style = ModulatedConvolution(500, 1, 1, 400).style
    assert torch.equal(style(torch.zeros(1, 400)), torch.ones(1, 500))
    assert style(torch.randn(300, 400)).std().item() == pytest.approx(1, rel=0.02)


def test_scaling_the_style_does_not_change_a_demodulated_layer() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(2, 3, 5, 5), torch.randn(2, 4)
    for demodulate in (True, False):
        layer = ModulatedConvolution(3, 6, 3, 4, demodulate=demodulate)
        before = layer(x, w)
        layer.style.weight.data *= 100
        layer.style.bias.data *= 100
        assert torch.allclose(layer(x, w), before if demodulate else 100 * before, rtol=1e-4, atol=1e-4)
