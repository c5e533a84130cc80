"""The mapping network: scale of z, the running mean of w, and truncation toward it."""

import math

import torch
from torch.nn.functional import leaky_relu, linear

from saddlepoint.layer.equalized_learning_rate import EqualizedLinear
from saddlepoint.layer.mapping_network import MappingNetwork


def mapping(**settings) -> MappingNetwork:
    torch.manual_seed(0)
    return MappingNetwork(5, 6, depth=2, **settings)


def test_w_does_not_depend_on_the_length_of_z() -> None:
    z, layer = torch.randn(3, 5), mapping()
    assert torch.allclose(layer(10 * z), layer(z), atol=1e-5)


def test_w_is_a_perceptron_of_the_normalised_z_with_a_lower_learning_rate() -> None:
    layer, z = mapping(multiplier=0.02), torch.randn(3, 5)
    layers = [module for module in layer.modules() if isinstance(module, EqualizedLinear)]
    assert [(m.in_features, m.out_features, m.multiplier) for m in layers] == [(5, 6, 0.02), (6, 6, 0.02)]
    expected = z / z.square().mean(1, keepdim=True).sqrt()
    for m in layers:
        h = linear(expected, 0.02 * m.weight / math.sqrt(m.in_features), 0.02 * m.bias)
        expected = math.sqrt(2) * leaky_relu(h, 0.2)
    assert torch.allclose(layer(z), expected, atol=1e-5)


def test_the_mean_moves_in_training_only_by_1_minus_decay_and_is_saved() -> None:
    layer, z = mapping(decay=0.75), torch.randn(7, 5)
    w = layer.eval()(z).mean(0)
    assert not layer.mean.any()
    layer.train()(z)
    layer(z)
    assert torch.allclose(layer.mean, (1 - 0.75**2) * w, atol=1e-6)
    assert "mean" in layer.state_dict()


def test_truncation_moves_w_toward_the_mean() -> None:
    layer, z = mapping(), torch.randn(7, 5)
    layer(z)
    layer.eval()
    w = layer(z)
    layer.psi = 0.5
    assert torch.allclose(layer(z), (w + layer.mean) / 2, atol=1e-6)
    layer.psi = 1.0
    assert torch.equal(layer(z), w)
    layer.psi = 0.0
    assert torch.equal(layer(z), layer.mean.expand(7, -1))
