"""Maxout: the maximum piece of each unit."""

import torch

from saddlepoint.layer.maxout import Maxout


def test_a_unit_is_the_maximum_of_its_pieces():
    layer = Maxout(features=3, units=4, pieces=5)
    x = torch.randn(7, 3)
    pieces = x @ layer.linear.weight.T + layer.linear.bias
    expected = torch.stack([pieces[:, 5 * i : 5 * i + 5].max(1).values for i in range(4)], 1)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_two_pieces_of_opposite_sign_are_the_absolute_value():
    layer = Maxout(1, 1, 2)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.linear.bias.zero_()
    x = torch.linspace(-2, 2, 9).unsqueeze(1)
    assert torch.equal(layer(x), x.abs())
