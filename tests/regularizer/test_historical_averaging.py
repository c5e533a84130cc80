"""Historical averaging: the toy game of the paper, the online mean, and the history after a resume."""

import copy
from functools import partial
from importlib import import_module

import numpy as np
import play
import pytest
import torch
from play import RULES, Maker, Watch, batches, fit, game, networks
from runs import assert_equal, rows, run, state
from torch import nn

from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build_game
from saddlepoint.game.player import Player
from saddlepoint.objective import hinge, wasserstein
from saddlepoint.regularizer.historical_averaging import HistoricalAveraging
from saddlepoint.regularizer.r1 import R1
from saddlepoint.turn import Batch, DiscriminatorOutput, Sample

START, RATE = 1.5, 0.01


class Minimiser(nn.Module):
    """x, independent of the latent."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(START, dtype=torch.float64))

    def forward(self, latent, y=None):
        return self.x.expand(len(latent["z"]), 1)


class Maximiser(nn.Module):
    """-(f(x) - 1)(y - 1), f(x) = x below 0 and x^2 above: under wasserstein, D ascends the loss that G descends."""

    def __init__(self):
        super().__init__()
        self.y = nn.Parameter(torch.tensor(START, dtype=torch.float64))

    def forward(self, x, y=None):
        f = torch.where(x < 0, x, x.square())
        return DiscriminatorOutput(-(f - 1).flatten() * (self.y - 1))


def toy(rule, weight, steps=5_000, every=1):
    """Play the toy game (Salimans et al. 2016, section 3.3) from (1.5, 1.5); return each (x, y), [steps, 2]."""
    nets = Minimiser(), Maximiser()
    terms = {"history": HistoricalAveraging(weight, every)} if weight else {}
    plays = game(wasserstein, terms, rule, partial(torch.optim.SGD, lr=RATE), nets=nets, z=1)
    old = plays.generator
    plays.players["generator"] = Player(old.network, old._optimizer, old.objective, copy.deepcopy(terms))
    places = []

    def after(g, i):
        places.append((nets[0].x.item(), nets[1].y.item()))

    fit(plays, [Batch(torch.ones(1, 1, dtype=torch.float64))] * steps, [Watch(after=after)])  # a real at 1 adds 0
    return np.array(places)


def simulated(rule, weight, steps=5_000, rate=RATE):
    """Simulate it without this package: add 2 weight (theta - mean) to each gradient, mean over all steps so far."""
    x = y = START
    mean, places = np.zeros(2), []
    for t in range(1, steps + 1):
        mean[1] += (y - mean[1]) / t
        up = -((x if x < 0 else x * x) - 1) + 2 * weight * (y - mean[1])
        moved = y - rate * up
        seen = moved if rule == "alternating" else y
        mean[0] += (x - mean[0]) / t
        x -= rate * ((1 if x < 0 else 2 * x) * (seen - 1) + 2 * weight * (x - mean[0]))
        y = moved
        places.append((x, y))
    return np.array(places)


def away(places):
    """Return the distance from the equilibrium (1, 1)."""
    return np.hypot(*(places - 1).T)


LEAST = {"alternating": 0.5, "simultaneous": 1.0}  # minimum distance of plain descent


@pytest.mark.parametrize("weight", [0.0, 0.1])
@pytest.mark.parametrize("rule", RULES)
def test_the_toy_game_follows_a_simulation_that_converges_only_with_historical_averaging(rule, weight):
    """300 rounds of the game, to 1e-12; 5,000 steps of the simulation."""
    expected = simulated(rule, weight)
    assert np.abs(toy(rule, weight, 300) - expected[:300]).max() < 1e-12
    assert away(expected)[-1_000:].max() < 0.01 if weight else away(expected)[-1] > LEAST[rule]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_on_the_toy_game_plain_descent_does_not_converge_and_historical_averaging_does(rule):
    """5,000 rounds of the game."""
    assert away(toy(rule, 0.0))[-1] > LEAST[rule]
    assert away(toy(rule, 0.1))[-1_000:].max() < 0.01


@pytest.mark.parametrize(
    ("weight", "steps", "farthest"),  # the largest distance over the last 1,000 steps
    [
        (0.0, 5_000, 1.96), (0.01, 5_000, 0.74), (0.1, 5_000, 0.0028), (0.5, 5_000, 0.021), (1.0, 5_000, 0.12),
        (0.0, 20_000, 13.5), (0.01, 20_000, 0.68), (0.1, 20_000, 0.0004), (0.5, 20_000, 0.006), (1.0, 20_000, 0.053),
    ],
)  # fmt: skip
def test_the_simulation_matches_independently_simulated_distances(weight, steps, farthest):
    """The mean includes the current step: without it, weight 0.5 gives 0.022."""
    digits = len(f"{farthest}".partition(".")[2])
    assert round(away(simulated("simultaneous", weight, steps))[-1_000:].max(), digits) == farthest


# ------------------------------------------------------------------------------------------------- the term


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))
        self.still = nn.Parameter(torch.randn(5), requires_grad=False)


def turn_of(network, images):
    side = Sample(torch.zeros(1, 1), None, None)
    player = Player(network, torch.optim.SGD, None, {"r1": R1()})
    return play.turn(player, images=images, real=side, fake=side)


def test_the_term_is_the_squared_distance_from_the_mean_of_all_turns_which_is_a_constant():
    network, term, history = Weights(), HistoricalAveraging(), []
    for t in range(6):
        with torch.no_grad():
            network.a.add_(torch.randn(3, 2))
            network.b.mul_(1.5)
            network.still.add_(1)  # frozen, so not in the history
        history.append(torch.cat([network.a.detach().flatten(), network.b.detach()]).double())
        gap = history[-1] - torch.stack(history).mean(0)
        loss = term(turn_of(network, images=64 * t))
        assert loss.item() == pytest.approx(gap.square().sum().item(), rel=1e-5, abs=1e-10)
        gradients = torch.autograd.grad(loss, [network.a, network.b])
        whole = torch.cat([g.flatten() for g in gradients]).double()
        assert torch.allclose(whole, 2 * gap, atol=1e-5)  # not 2 gap (1 - 1/t): no gradient through the mean


def test_on_the_first_turn_the_term_is_0():
    assert HistoricalAveraging()(turn_of(Weights(), 0)).item() == 0.0


def test_an_accumulated_turn_enters_the_mean_once():
    """With accumulate=4, the mean and all steps of D equal those with accumulate=1."""
    ends = []
    for parts in (1, 4):
        torch.manual_seed(0)
        nets = Maker(nn.Linear(3, 2)), networks()[1]  # no batch norm, which depends on the split
        term = HistoricalAveraging(0.5)
        plays = game(hinge, {"history": term}, nets=nets, d={"accumulate": parts}, g={"every": 10**9})
        fit(plays, batches(5))
        ends.append((term.turns, term.mean))
    assert ends[0][0] == ends[1][0] == 5
    assert all(torch.allclose(m, ends[1][1][name], atol=1e-6) for name, m in ends[0][1].items())


def test_after_a_million_turns_the_mean_still_follows():
    network, term = Weights(), HistoricalAveraging()
    term(turn_of(network, 0))
    term.turns = 10**6
    before = {name: m.clone() for name, m in term.mean.items()}
    with torch.no_grad():
        network.a.add_(1e-3)
    term(turn_of(network, 1))
    assert torch.allclose(term.mean["a"] - before["a"], torch.tensor(1e-3 / (10**6 + 1)).double(), rtol=1e-2)


def test_a_lazy_term_averages_over_the_turns_on_which_it_is_due():
    term = HistoricalAveraging(0.1, every=3)
    fit(game(hinge, {"history": term}), batches(7))
    assert term.turns == 3


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "objective", ["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"]
)
def test_rounds_are_finite_with_every_objective(objective, rule):
    plays = game(import_module(f"saddlepoint.objective.{objective}"), {"r1": R1(), "h": HistoricalAveraging()}, rule)
    fit(plays, batches(3))
    assert set(plays.last_losses["discriminator"][0]) == {"adversarial", "r1", "h"}
    assert plays.last_losses["discriminator"][0]["h"] > 0
    assert all(torch.isfinite(p).all() for p in plays.parameters())


# ------------------------------------------------------------------------------------------- both players, resumed


def test_each_player_has_its_own_history():
    plays = build_game(compose(["regularizer=[historical_averaging]"]))
    terms = [plays.players[name].terms["historical_averaging"] for name in plays.players]
    assert len(terms) == 2
    assert terms[0] is not terms[1]


def test_a_game_is_saved_and_loaded_before_and_after_training():
    config = compose(["regularizer=[historical_averaging]"])
    fresh, other = build_game(config), build_game(config)
    other.load_state_dict(fresh.state_dict())
    for term in (fresh.discriminator.terms["historical_averaging"],):
        term(turn_of(fresh.discriminator.network, 0))
        other.load_state_dict(fresh.state_dict())
        loaded = other.discriminator.terms["historical_averaging"]
        assert (loaded.turns, loaded.images) == (1, 0)
        assert loaded.mean.keys() == term.mean.keys() != set()
        other.load_state_dict(build_game(config).state_dict())
        assert loaded.turns == 0


PIECES = {
    "every turn": ["regularizer=[historical_averaging,feature_matching]"],
    "lazy": ["regularizer=[historical_averaging]", "regularizer.discriminator.historical_averaging.every=4"],
    "with minibatch discrimination": [
        "regularizer=[historical_averaging]", "+layer@architecture.discriminator.neck=minibatch_discrimination",
        "architecture.discriminator.neck.kernels=8",
    ],
}  # fmt: skip


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, pieces):
    straight = run(tmp_path / "a", *pieces, "metric=[]", "images=2304")
    run(tmp_path / "b", *pieces, "metric=[]", "images=1152")
    resumed = run(tmp_path / "b", *pieces, "metric=[]", "images=2304")
    assert "resuming at 1,152 images" in resumed.said
    assert any("historical_averaging" in key and "mean" in key for key in state(straight))
    assert_equal(state(straight), state(resumed))
    assert rows(straight) == rows(resumed)
