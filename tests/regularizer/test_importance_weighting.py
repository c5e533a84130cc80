"""Importance weighting: D's real term over the biased set is that over the balanced set, for separable objectives."""

from functools import partial
from types import SimpleNamespace

import play
import pytest
import torch
from play import fit

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build
from saddlepoint.game.player import Player
from saddlepoint.objective import (
    f_gan_kl,
    hinge,
    least_squares,
    minimax,
    nonsaturating,
    relativistic,
    relativistic_average,
    wasserstein,
)
from saddlepoint.regularizer.importance_weighting import ImportanceWeighting, is_sum_of_means
from saddlepoint.turn import Batch, Sample

SEPARABLE = [hinge, nonsaturating, least_squares, wasserstein, f_gan_kl]
SMOOTHED = SimpleNamespace(discriminator=partial(minimax.discriminator, real_label=0.9))
CONTENTS = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FAKES = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def images(copies):
    """Each content `copies[c]` times in colour c, the third number of a point: red -1, green 1."""
    return torch.cat([torch.cat([CONTENTS, torch.full((5, 1), 2.0 * colour - 1, dtype=torch.float64)], 1)
                      for colour, number in enumerate(copies) for _ in range(number)])  # fmt: skip


def network():
    torch.manual_seed(0)
    return play.Critic(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()), torch.nn.Linear(4, 1)).double()


def loss(objective, reals, weights=None, alpha=1.0, **settings):
    """D's loss and its gradient for one turn."""
    net = network()
    terms = {} if weights is None else {"importance_weighting": ImportanceWeighting(alpha=alpha)}
    player = Player(net, partial(torch.optim.SGD, lr=0.1), objective, terms, **settings)
    turn = play.turn(player, real=Sample(reals, {}, net), fake=Sample(FAKES, {}, net))
    turn.batch = Batch(reals, extra_columns={} if weights is None else {"weight": weights})
    value = sum(player.losses(turn, 0).values())
    return value, torch.cat([g.flatten() for g in torch.autograd.grad(value, list(net.parameters()))])


def oracle(reals):
    return torch.tensor([0.5 / 0.9, 0.5 / 0.1], dtype=torch.float64)[(reals[:, 2] > 0).long()]


@pytest.mark.parametrize("objective", [*SEPARABLE, SMOOTHED])
def test_with_oracle_weights_the_biased_set_has_the_gradient_of_the_balanced_one(objective):
    biased, balanced = images([9, 1]), images([1, 1])
    value, gradient = loss(objective.discriminator, biased, oracle(biased))
    expected_value, expected = loss(objective.discriminator, balanced)
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)
    assert value.item() == pytest.approx(expected_value.item(), abs=1e-12)  # as the weights have the mean 1
    assert not torch.allclose(loss(objective.discriminator, biased)[1], expected, atol=1e-3)  # without weights


def test_the_weighted_hinge_is_the_formula_written_out_and_alpha_is_the_exponent_of_the_weights():
    reals, w = images([2, 1]), torch.rand(15, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
    net = network()
    real, fake = net(reals).logits, net(FAKES).logits
    for alpha in (1.0, 0.5, 0.0):
        expected = (w**alpha * (1 - real).clamp(min=0)).mean() + (1 + fake).clamp(min=0).mean()
        wanted = torch.cat(
            [g.flatten() for g in torch.autograd.grad(expected, list(net.parameters()), retain_graph=True)]
        )
        assert torch.allclose(loss(hinge.discriminator, reals, w, alpha)[1], wanted, rtol=0, atol=1e-12)


def test_the_weights_follow_the_weight_of_the_entry_of_sees():
    biased, balanced, half = images([9, 1]), images([1, 1]), [{"real": "real", "fake": "fake", "weight": 0.5}]
    gradient = loss(hinge.discriminator, biased, oracle(biased), sees=half)[1]
    expected = loss(hinge.discriminator, balanced, sees=half)[1]
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)


def test_the_weights_follow_the_weight_of_the_adversarial_term():
    biased, balanced = images([9, 1]), images([1, 1])
    for weight in (0.5, lambda images: 3.0):
        gradient = loss(hinge.discriminator, biased, oracle(biased), weight=weight)[1]
        assert torch.allclose(gradient, loss(hinge.discriminator, balanced, weight=weight)[1], rtol=0, atol=1e-12)


def test_weights_of_one_train_bit_for_bit_as_without_the_term():
    def trained(terms):
        torch.manual_seed(0)
        game = play.game(hinge, terms)
        rounds = [Batch(b.x, extra_columns={"weight": torch.ones(16)}) for b in play.batches(4)]
        fit(game, rounds)
        return torch.cat([p.flatten() for p in game.parameters()])

    assert torch.equal(trained({}), trained({"importance_weighting": ImportanceWeighting()}))


def test_two_halves_of_a_batch_give_the_gradient_of_the_whole():
    reals = images([9, 1])
    w, order = oracle(reals), torch.randperm(50, generator=torch.Generator().manual_seed(3))
    whole = loss(hinge.discriminator, reals, w)[1]
    halves = [loss(hinge.discriminator, reals[rows], w[rows])[1] for rows in order.split(25)]
    assert torch.allclose(sum(halves) / 2, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", [relativistic, relativistic_average])
def test_an_objective_that_compares_reals_with_fakes_is_not_a_sum_of_means(objective):
    assert not is_sum_of_means(objective.discriminator)


@pytest.mark.parametrize("objective", [*SEPARABLE, SMOOTHED])
def test_the_other_objectives_are_sums_of_means(objective):
    assert is_sum_of_means(objective.discriminator)


WORDS = ["regularizer=[importance_weighting]", "logger=none", "data.extractor=null"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=coloured_digits"], r"no column weight \(there are: x, y, colour\).*data.weights=classifier"),
        (["data=digits"], r"no column weight \(there are: x, y\)"),
        (["data=coloured_digits", "data.weights=oracle", "objective=relativistic"], "compares reals with fakes"),
        (["data=coloured_digits", "data.weights=oracle", "objective=relativistic_average_hinge"], "no real term"),
        (["data=coloured_digits", "data.weights=oracle", "game=packing"], "a weight belongs to one real"),
    ],
)
def test_data_without_weights_and_games_without_a_real_term_are_refused(words, message):
    with pytest.raises(Mistake, match=message):
        build(compose([*WORDS, *words]))


def test_a_negative_exponent_is_refused():
    with pytest.raises(ValueError, match="alpha=-1"):
        ImportanceWeighting(alpha=-1)
