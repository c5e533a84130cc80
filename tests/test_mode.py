"""Context managers restore the modes of modules and the random state, also after an exception."""

from contextlib import suppress

import pytest
import torch
from torch import nn

from saddlepoint.mode import in_mode
from saddlepoint.stream import preserve_random_state


@pytest.mark.parametrize("training", [False, True])
def test_every_module_returns_to_its_previous_mode(training: bool) -> None:
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))
    network[0].eval()
    before = [module.training for module in network.modules()]
    with suppress(ZeroDivisionError), in_mode(network, training=training):
        assert {module.training for module in network.modules()} == {training}
        raise ZeroDivisionError
    assert [module.training for module in network.modules()] == before == [True, False, True, True]


def test_the_random_state_is_restored_and_a_seed_gives_the_same_draws() -> None:
    before = torch.get_rng_state()
    draws = []
    for seed in (3, 3, 4, None):
        with suppress(ZeroDivisionError), preserve_random_state(seed=seed):
            draws.append(torch.rand(5))
            raise ZeroDivisionError
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], torch.rand(5, generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(draws[3], torch.rand(5))
