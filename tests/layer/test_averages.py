"""Several averages: each equals the single average of its half-life, and the selected one makes the samples."""

from functools import partial

import play
import pytest
import torch
from torch import nn

from saddlepoint.game.average import Average
from saddlepoint.layer.averages import Averages
from saddlepoint.objective import nonsaturating

HALF_LIVES = {"fast": 16, "slow": 64}
MAKE = {name: partial(Average, half_life=value, warm_up=None) for name, value in HALF_LIVES.items()}


def played(average, rounds=4):
    torch.manual_seed(0)
    game = play.game(nonsaturating, g={"average": average})
    play.fit(game, play.batches(rounds))
    return game


@pytest.mark.parametrize("name", ["fast", "slow"])
def test_each_average_and_its_samples_equal_those_of_a_run_with_this_one_alone(name: str) -> None:
    game, alone = played(partial(Averages, averages=MAKE, selected=name)), played(MAKE[name])
    state = game.generator.average.averages[name].network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in alone.generator.average.network.state_dict().items())
    assert torch.equal(game.sample(8), alone.sample(8))
    other = {"fast": "slow", "slow": "fast"}[name]
    game.generator.average.selected = other
    assert torch.equal(game.sample(8), played(MAKE[other]).sample(8))


def test_all_averages_are_in_the_state_of_the_game() -> None:
    game, other = played(partial(Averages, averages=MAKE)), played(partial(Averages, averages=MAKE), rounds=1)
    other.load_state_dict(game.state_dict())
    for name in HALF_LIVES:
        other.generator.average.selected = game.generator.average.selected = name
        assert torch.equal(other.sample(4), game.sample(4))


def test_all_averages_start_from_the_weights_before_the_first_round() -> None:
    network = nn.Linear(1, 1, bias=False)
    averages = Averages(network, MAKE, "slow")
    nn.init.ones_(network.weight)
    averages.network.load_state_dict(network.state_dict())  # what the game does after a data-dependent initialisation
    averages.update(network, 8)
    assert [average.network.weight.item() for average in averages.averages.values()] == [1.0, 1.0]


def test_statistics_are_reestimated_for_the_selected_average() -> None:
    make = {name: partial(Average, statistics="reestimated") for name in HALF_LIVES}
    game = played(partial(Averages, averages=make))
    assert game.generator.average.has_stale_statistics
    game.sample(4)
    assert not game.generator.average.has_stale_statistics
    game.generator.average.has_stale_statistics = True  # as a restored snapshot sets it
    assert game.generator.average.averages["slow"].has_stale_statistics
    game.sample(4)
    game.generator.average.selected = "fast"
    assert game.generator.average.has_stale_statistics


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"selected=fest is not among fast, slow\. Did you mean fast"):
        Averages(nn.Linear(1, 1), MAKE, "fest")
