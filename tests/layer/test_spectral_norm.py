"""Spectral normalisation against the singular value decomposition, on any network."""

import copy
from functools import partial

import play
import pytest
import torch
from torch import nn

from saddlepoint.architecture import conv28, mlp
from saddlepoint.game.average import Average
from saddlepoint.layer.spectral_norm import LINEAR, SpectralNorm
from saddlepoint.objective import hinge


def converged(network: nn.Module, x: torch.Tensor, passes: int = 300) -> nn.Module:
    wrapped = SpectralNorm(network)
    with torch.no_grad():
        for _ in range(passes):
            wrapped(x)
    return wrapped


@pytest.mark.parametrize("kind", ["mlp", "conv28"])
def test_every_weight_has_largest_singular_value_one(kind: str) -> None:
    torch.manual_seed(0)
    network = mlp.Discriminator([1, 4, 4], heads={"label": 3}) if kind == "mlp" else conv28.Discriminator([1, 28, 28])
    x = torch.randn(4, 1, 4, 4) if kind == "mlp" else torch.randn(2, 1, 28, 28)
    wrapped = converged(network, x, 300 if kind == "mlp" else 60)
    maps = [module for module in wrapped.modules() if isinstance(module, LINEAR)]
    assert len(maps) >= 3  # trunk, readout, heads
    for module in maps:
        largest = torch.linalg.svdvals(module.weight.detach().flatten(1))[0].item()
        assert largest == pytest.approx(1, rel=0.02)


def test_the_weight_is_the_original_over_its_singular_value_and_evaluation_iterates_no_more() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 5)
    original = layer.weight.detach().clone()

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x, condition):
            return self.layer(x)

    wrapped = converged(Network(), torch.zeros(1, 6))
    sigma = torch.linalg.svdvals(original)[0]
    assert torch.allclose(wrapped.network.layer.weight, original / sigma, rtol=1e-4)
    wrapped.eval()
    before = {name: buffer.clone() for name, buffer in wrapped.named_buffers()}
    wrapped(torch.zeros(1, 6))
    assert all(torch.equal(buffer, before[name]) for name, buffer in wrapped.named_buffers())


def test_several_iterations_in_a_pass_are_those_of_several_passes() -> None:
    torch.manual_seed(0)
    network, x = mlp.Discriminator([2]), torch.zeros(1, 2)
    torch.manual_seed(1)
    one = SpectralNorm(copy.deepcopy(network), eps=1e-6)
    torch.manual_seed(1)
    three = SpectralNorm(copy.deepcopy(network), iterations=3, eps=1e-6)
    three.load_state_dict(one.state_dict())
    three(x)
    for _ in range(3):
        one(x)
    same = dict(three.named_buffers())
    assert all(torch.equal(buffer, same[name]) for name, buffer in one.named_buffers())
    assert one.network.readout.linear.parametrizations.weight[0].eps == 1e-6


def test_a_submodule_that_is_skipped_keeps_its_weight_and_an_unknown_one_is_named() -> None:
    network = mlp.Discriminator([2])
    weight = network.readout.linear.weight
    assert SpectralNorm(network, skip=["readout"]).network.readout.linear.weight is weight
    with pytest.raises(ValueError, match=r"skip=readot .* Did you mean readout.* There are heads, "):
        SpectralNorm(mlp.Discriminator([2]), skip=["readot"])
    with pytest.raises(ValueError, match="no linear"):
        SpectralNorm(nn.Identity())
    with pytest.raises(ValueError, match="iterations"):
        SpectralNorm(mlp.Discriminator([2]), iterations=0)


def test_the_average_of_a_network_is_normalised_by_the_singular_values_of_its_own_weights() -> None:
    """Averaged singular vectors have norms below 1: without iterations on the average, its norms would be above 1."""
    torch.manual_seed(0)
    generator, discriminator = play.networks(width=32, z=32)
    nn.init.orthogonal_(generator.network[0].weight)  # all singular values are close, so that the vectors move
    nets = SpectralNorm(generator), discriminator
    average = partial(Average, half_life=200, warm_up=None)
    adam = partial(torch.optim.Adam, lr=0.01)
    game = play.game(hinge, nets=nets, g={"average": average}, z=32, optimizer=adam)
    play.fit(game, play.batches(60))
    network = game.players["generator"].average.network.network.network
    for layer in (network[0], network[3]):
        assert torch.linalg.svdvals(layer.weight)[0].item() == pytest.approx(1, rel=0.02)
