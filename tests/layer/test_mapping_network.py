"""The mapping network: its equation, scale of z, the running mean of w, and truncation toward it."""

import math

import pytest
import torch
from torch.nn.functional import leaky_relu, linear

from saddlepoint.layer import mapping_network
from saddlepoint.layer.equalized_learning_rate import EqualizedLinear
from saddlepoint.layer.mapping_network import MappingNetwork


def mapping(**settings) -> MappingNetwork:
    torch.manual_seed(0)
    return MappingNetwork(5, 6, depth=2, **settings)


def test_w_is_a_perceptron_of_z_over_its_root_mean_square() -> None:
    layer, z = mapping(multiplier=0.1), torch.randn(7, 5)
    linears = [part for part in layer.layers if isinstance(part, EqualizedLinear)]
    assert len(linears) == 2
    w = z / z.square().mean(1, keepdim=True).sqrt()
    for part in linears:
        part.bias.data.normal_(std=10)
        w = linear(w, 0.1 * part.weight / math.sqrt(w.shape[1]), 0.1 * part.bias)
        w = math.sqrt(2) * leaky_relu(w, 0.2)
    assert torch.allclose(layer(z), w, atol=1e-5)


def test_w_does_not_depend_on_the_length_of_z() -> None:
    z, layer = torch.randn(3, 5), mapping()
    assert torch.allclose(layer(10 * z), layer(z), atol=1e-5)


def test_the_mean_moves_in_training_only_by_1_minus_decay_and_is_saved() -> None:
    layer, z = mapping(decay=0.75), torch.randn(7, 5)
    w = layer.eval()(z).mean(0)
    assert not layer.mean.any()
    layer.train()(z)
    layer(z)
    assert torch.allclose(layer.mean, (1 - 0.75**2) * w, atol=1e-6)
    assert "mean" in layer.state_dict()


def test_the_mean_is_that_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here another rank has a mean that is larger by 2, so the mean of both is larger by 1."""
    monkeypatch.setattr(mapping_network.ranks, "mean", lambda mean: (mean + (mean + 2)) / 2)
    layer, z = mapping(decay=0.75), torch.randn(7, 5)
    w = layer(z).mean(0)
    assert torch.allclose(layer.mean, 0.25 * (w + 1), atol=1e-6)


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


def test_a_class_is_embedded_at_the_scale_of_z() -> None:
    """About half of the variance of w is between classes, whatever the scale of the embedding."""
    torch.manual_seed(0)
    layer = MappingNetwork(64, 64, depth=1, condition=10).eval()
    z, classes = torch.randn(200, 64), torch.eye(10)
    w = torch.stack([layer(z, one.expand(200, -1)) for one in classes])  # [class, sample, feature]
    between = w.mean(1).var(0, correction=0).mean() / w.flatten(0, 1).var(0, correction=0).mean()
    assert 0.3 < between < 0.7
    assert layer.embedding is not None
    layer.embedding.bias.data.zero_()
    w = layer(z, classes[:1].expand(200, -1))
    layer.embedding.weight.data *= 7
    assert torch.allclose(layer(z, classes[:1].expand(200, -1)), w, atol=1e-5)
