"""Laws of the moving average."""

import copy
from functools import partial

import pytest
import torch
from play import batches, fit, game
from torch import nn

from saddlepoint.game.average import Average, CorrectedAverage
from saddlepoint.objective import minimax
from saddlepoint.schedule.step import Step


def test_after_one_half_life_the_old_weights_count_half():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, half_life=1000, warm_up=None)
    nn.init.ones_(network.weight)
    for images in range(100, 1001, 100):  # ten updates of a tenth each
        average.update(network, images)
    assert average.network.weight.item() == pytest.approx(0.5, abs=1e-6)
    once = Average(nn.Linear(1, 1, bias=False), half_life=1000, warm_up=None)
    nn.init.zeros_(once.network.weight)
    once.update(network, 1000)  # or one of the whole: the period of updates is no matter
    assert once.network.weight.item() == pytest.approx(0.5, abs=1e-6)


def test_warm_up_limits_the_half_life_to_a_share_of_the_images_so_far():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, half_life=10_000, warm_up=0.1)
    nn.init.ones_(network.weight)
    average.update(network, 1000)  # half-life 100, ten of them
    assert 1 - average.network.weight.item() == pytest.approx(2.0**-10, rel=1e-3)


def test_the_half_life_may_be_a_schedule():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, half_life=Step(100, [200], 10), warm_up=None)
    nn.init.ones_(network.weight)
    average.update(network, 100)
    assert average.network.weight.item() == pytest.approx(0.5, abs=1e-6)
    average.update(network, 1100)
    assert 1 - average.network.weight.item() == pytest.approx(0.25, abs=1e-6)


def test_batch_norm_statistics_are_averaged_and_never_copied():
    layer = nn.BatchNorm1d(1)
    average = Average(layer, half_life=100, warm_up=None)
    layer.running_mean.fill_(8.0)
    layer.running_var.fill_(3.0)
    average.update(layer, 100)
    assert average.network.running_mean.item() == pytest.approx(4.0)
    assert average.network.running_var.item() == pytest.approx(2.0)


def test_reestimated_statistics_are_those_of_the_averaged_weights():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, momentum=0.3))
    average = Average(network, statistics="reestimated")
    with torch.no_grad():
        network[0].weight.mul_(5)
    average.update(network, 100)
    inputs = torch.randn(4, 50, 2)
    average.reestimate_statistics((x,) for x in inputs)
    hidden = average.network[0](inputs)
    assert torch.allclose(average.network[1].running_mean, hidden.mean((0, 1)), atol=1e-5)
    assert torch.allclose(average.network[1].running_var, hidden.var(1).mean(0), atol=1e-5)
    assert not average.network[1].training
    assert average.network[1].momentum == 0.3


def test_statistics_are_reestimated_before_sampling_and_the_live_network_does_not_change():
    follow = partial(Average, half_life=50, statistics="reestimated")
    plays = game(minimax, g={"average": follow})
    fit(plays, batches(5))
    live = copy.deepcopy(plays.generator.network.state_dict())
    assert plays.generator.average.has_stale_statistics
    first = plays.sample(7)
    assert not plays.generator.average.has_stale_statistics
    assert torch.equal(first, plays.sample(7))
    z = torch.randn(4000, 3)
    hidden = plays.generator.average.network.network[0](z)
    assert torch.allclose(plays.generator.average.network.network[1].running_mean, hidden.mean(0), atol=0.1)
    assert all(torch.equal(value, live[key]) for key, value in plays.generator.network.state_dict().items())
    fit(plays, batches(1, seed=2))
    assert plays.generator.average.has_stale_statistics  # new weights, so the statistics are to be measured again


def test_an_average_stays_in_evaluation_mode_and_requires_no_gradients():
    average = Average(nn.Sequential(nn.Linear(1, 1), nn.Dropout()))
    average.train()
    assert not any(module.training for module in average.modules())
    assert not any(parameter.requires_grad for parameter in average.parameters())


@pytest.mark.parametrize("player", ["d", "g"])
def test_any_player_may_keep_an_average(player):
    plays = game(minimax, **{player: {"average": partial(Average, half_life=1e-3, warm_up=None)}})
    fit(plays, batches(3))
    owner = plays.discriminator if player == "d" else plays.generator
    for ours, theirs in zip(owner.average.network.parameters(), owner.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)  # a tiny half-life: it follows at once
    assert (plays.generator if player == "d" else plays.discriminator).average is None


def test_an_unknown_value_of_statistics_is_refused():
    with pytest.raises(ValueError, match="averaged or reestimated"):
        Average(nn.Linear(1, 1), statistics="copied")


# ------------------------------------------------------------------------------------------ corrected at its start


def test_the_corrected_average_of_constant_weights_is_exactly_those_weights():
    torch.manual_seed(0)
    start, network = nn.Linear(3, 4), nn.Linear(3, 4)
    average = CorrectedAverage(start, rate=1e-4)  # what it was made from, before the first turn, has no part in it
    for turn in range(1, 2001):
        average.update(network, turn)
        assert torch.equal(average.network.weight, network.weight), turn


@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.5, 1.0])
def test_the_corrected_average_of_a_ramp_is_its_closed_form(rate):
    """Weights t at turn t: a = sum over s <= t of rate q^(t - s) s = t - q (1 - q^t) / rate, with q = 1 - rate."""
    network = nn.Linear(1, 1, bias=False).double()
    average = CorrectedAverage(network, rate=rate)
    for turn in range(1, 301):
        nn.init.constant_(network.weight, turn)
        average.update(network, 64 * turn)
    q, t = 1 - rate, 300
    expected = (t - q * (1 - q**t) / rate) / (1 - q**t)
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-9)


def test_the_corrected_average_is_the_average_from_zero_divided_by_its_bias():
    torch.manual_seed(0)
    network, zero = nn.Linear(5, 1).double(), torch.zeros(1, 5, dtype=torch.float64)
    average = CorrectedAverage(network, rate=1e-3)
    for turn in range(1, 51):
        nn.init.normal_(network.weight)
        average.update(network, turn)
        zero += 1e-3 * (network.weight.detach() - zero)
        assert torch.allclose(average.network.weight, zero / (1 - (1 - 1e-3) ** turn), rtol=1e-9)
    assert zero.abs().max() < 0.1 * average.network.weight.abs().max()  # the bias: a twentieth of it is there


@pytest.mark.parametrize("player", ["d", "g"])
def test_any_player_may_keep_a_corrected_average_and_it_resumes_exactly(player):
    def fresh():
        torch.manual_seed(0)
        return game(minimax, **{player: {"average": partial(CorrectedAverage, rate=0.3)}})

    def kept(plays):
        return (plays.discriminator if player == "d" else plays.generator).average

    whole, half, rest = fresh(), fresh(), fresh()
    fit(whole, batches(6))
    fit(half, batches(6)[:3])
    rest.load_state_dict(half.state_dict())
    rest.streams["latent"].state = half.streams["latent"].state
    rest.rounds, rest.images = half.rounds, half.images
    assert kept(rest).turns == 3
    fit(rest, batches(6)[3:])
    assert kept(whole).turns == kept(rest).turns == 6
    for name, value in kept(whole).network.state_dict().items():
        assert torch.equal(value, kept(rest).network.state_dict()[name]), name


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5])
def test_an_invalid_rate_is_refused(rate):
    with pytest.raises(ValueError, match=f"rate={rate}"):
        CorrectedAverage(nn.Linear(1, 1), rate=rate)
