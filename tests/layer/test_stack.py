"""A ConditionalSequential passes the condition to conditional layers at any depth, and to no others."""

import torch
from torch import nn

from saddlepoint.architecture import conv28, dcgan, mlp
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer


class Shifted(nn.Module):
    """x + the entry `by` of the condition."""

    conditional = True

    def __init__(self, features=1):
        super().__init__()

    def forward(self, x, condition):
        return x + condition["by"].view(-1, *[1] * (x.ndim - 1))


def test_conditional_layers_get_the_condition_at_any_depth():
    x, by = torch.randn(5, 3), torch.randn(5)
    linear = nn.Linear(3, 3)
    inner = ConditionalSequential(nn.ReLU(), Shifted())
    out = ConditionalSequential(linear, inner, nn.Tanh())(x, {"by": by})
    assert torch.equal(out, torch.tanh(torch.relu(linear(x)) + by[:, None]))


def test_without_conditional_layers_it_is_an_nn_sequential_with_the_same_parameter_names():
    layers = [nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)]
    x = torch.randn(6, 3)
    assert torch.equal(ConditionalSequential(*layers)(x), nn.Sequential(*layers)(x))
    assert torch.equal(ConditionalSequential(*layers)(x, {"by": torch.ones(6)}), nn.Sequential(*layers)(x))
    assert list(ConditionalSequential(*layers).state_dict()) == list(nn.Sequential(*layers).state_dict())


def test_a_hidden_layer_passes_its_condition_to_a_conditional_norm():
    linear = nn.Linear(2, 2)
    layer = hidden_layer(linear, 2, Shifted, nn.ReLU())
    x, by = torch.randn(4, 2), torch.randn(4)
    assert torch.equal(layer(x, {"by": by}), torch.relu(linear(x) + by[:, None]))


def test_every_architecture_passes_the_condition_to_its_norms():
    by = {"by": torch.tensor([0.0, 3.0, 0.0])}
    for module, shape in ((mlp, (1, 8, 8)), (conv28, (1, 28, 28)), (dcgan, (3, 32, 32))):
        torch.manual_seed(0)
        maker = module.Generator(4, shape, norm=Shifted)
        x = maker({"z": torch.zeros(3, 4)}, by)
        assert torch.equal(x[0], x[2]), module
        assert not torch.equal(x[0], x[1]), module
        judge = module.Discriminator(shape, norm=Shifted)
        logits = judge(torch.zeros(3, *shape), by).logits
        assert torch.equal(logits[0], logits[2]), module
        assert not torch.equal(logits[0], logits[1]), module
