"""Feature matching: the gap, the players it moves, and what it does not change."""

import copy
from importlib import import_module

import numpy as np
import play
import pytest
import torch
from play import RULES, Critic, Maker, Watch, batches, fit, game, networks
from torch import nn

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.game.player import Player
from saddlepoint.objective import hinge, nonsaturating
from saddlepoint.regularizer.feature_matching import FeatureMatching
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.historical_averaging import HistoricalAveraging
from saddlepoint.regularizer.paired_feature_matching import PairedFeatureMatching
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2
from saddlepoint.turn import DiscriminatorOutput, Sample

GAPS = {  # computed in numpy from the difference of means
    "mean_square": lambda gap: (gap**2).mean(),
    "sum_square": lambda gap: (gap**2).sum(),
    "mean_absolute": lambda gap: np.abs(gap).mean(),
}


def exposing(x, y=None):
    """A discriminator with three named layers: a map, the flattened map, and its square."""
    return DiscriminatorOutput(x.flatten(1).sum(1), {"map": x, "flat": x.flatten(1), "square": x.flatten(1) ** 2})


def turn_of(real, fake, discriminator=exposing):
    return play.turn(real=Sample(real, None, discriminator), fake=Sample(fake, None, discriminator))


def playing(
    terms, rule="alternating", nets=None, objective=nonsaturating, penalties=(), replaced=False, optimizer=None
):
    """Return a game in which `terms` are added to the objective of the generator or replace it."""
    plays = game(objective, penalties, rule, optimizer, nets=nets)
    old = plays.generator
    plays.players["generator"] = Player(old.network, old._optimizer, None if replaced else old.objective, terms)
    return plays


@pytest.mark.parametrize("gap", GAPS)
def test_the_gap_of_batch_means_equals_the_computation_by_hand(gap):
    real, fake = torch.randn(7, 3, 4, 5, dtype=torch.float64), torch.randn(9, 3, 4, 5, dtype=torch.float64)
    r, f = real.numpy(), fake.numpy()
    space = r.mean((0, 2, 3)) - f.mean((0, 2, 3))  # for a map, means over space as in the CIFAR-10 code
    flat = (r.mean(0) - f.mean(0)).ravel()
    square = ((r**2).mean(0) - (f**2).mean(0)).ravel()

    def term(features):
        return FeatureMatching(features, gap)(turn_of(real, fake)).item()

    assert term("map") == pytest.approx(GAPS[gap](space), rel=1e-12)
    assert term("flat") == pytest.approx(GAPS[gap](flat), rel=1e-12)
    assert term(None) == pytest.approx(GAPS[gap](square), rel=1e-12)  # the last
    assert term(["map", "square"]) == pytest.approx(GAPS[gap](space) + GAPS[gap](square), rel=1e-12)


def test_all_is_the_sum_over_all_layers_that_d_returns():
    real, fake = torch.randn(2, 7, 3, 4, 5, dtype=torch.float64)
    turn = turn_of(real, fake)
    layers = [FeatureMatching(name)(turn).item() for name in ("map", "flat", "square")]
    assert FeatureMatching("all")(turn).item() == pytest.approx(sum(layers), rel=1e-12)


def test_the_paired_form_compares_row_by_row_where_the_other_compares_means():
    real, fake = torch.randn(2, 7, 3, 4, 5, dtype=torch.float64)
    r, f = real.numpy(), fake.numpy()
    expected = 2 * np.abs(r - f).mean() + np.abs(r**2 - f**2).mean()  # the map, flattened or not, and its square
    assert PairedFeatureMatching()(turn_of(real, fake)).item() == pytest.approx(expected, rel=1e-12)
    shuffled = fake[torch.randperm(7)]
    assert FeatureMatching("flat")(turn_of(shuffled, fake)).item() == pytest.approx(0, abs=1e-12)
    assert PairedFeatureMatching("flat")(turn_of(shuffled, fake)).item() > 0.1
    with pytest.raises(Mistake, match="7 reals, 6 fakes"):
        PairedFeatureMatching()(turn_of(real, fake[:6]))


@pytest.mark.parametrize(("overrides", "paired"), [([], False), (["experiment=inpainting_digits"], True)])
def test_the_paired_form_warns_if_fakes_do_not_depend_on_the_reals(overrides, paired):
    warning = PairedFeatureMatching().check_game(build_game(compose(overrides)))
    assert warning is None if paired else "use feature_matching" in warning


def test_the_paired_form_has_a_gradient_for_the_fakes_only_and_may_be_accumulated():
    real, fake = torch.randn(5, 1, 2, 2).requires_grad_(), torch.randn(5, 1, 2, 2, requires_grad=True)
    loss = PairedFeatureMatching()(turn_of(1.0 * real, fake))
    gradients = torch.autograd.grad(loss, [real, fake], allow_unused=True)
    assert gradients[0] is None
    assert gradients[1].abs().sum() > 0
    Player(networks()[0], torch.optim.SGD, hinge.generator, {"fm": PairedFeatureMatching()}, accumulate=2)


def test_equal_means_cost_nothing_whatever_the_samples():
    fake = torch.randn(6, 2, 3, 3)
    real = fake[torch.randperm(6)]
    assert FeatureMatching("flat")(turn_of(real, fake)).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("gap", GAPS)
def test_gradients_flow_through_the_fakes_but_not_through_the_reals(gap):
    real, fake = torch.randn(2, 5, 1, 2, 2).requires_grad_(), torch.randn(5, 1, 2, 2, requires_grad=True)
    loss = FeatureMatching("flat", gap)(turn_of(real[0], fake))
    gradients = torch.autograd.grad(loss, [real, fake], allow_unused=True)
    assert gradients[0] is None
    assert gradients[1].abs().sum() > 0


@pytest.mark.parametrize("rule", RULES)
def test_it_has_gradients_for_the_generator_and_none_for_the_discriminator(rule):
    """D's gradient with the term of the generator equals, bit for bit, D's gradient without it."""
    gradients = {}
    for name, terms in {"with": {"feature_matching": FeatureMatching(weight=100.0)}, "without": {}}.items():
        torch.manual_seed(0)
        plays = playing(terms, rule)
        fit(plays, batches(1))
        gradients[name] = {p: [w.grad.clone() for w in plays.players[p].parameters()] for p in plays.players}
    assert all(map(torch.equal, gradients["with"]["discriminator"], gradients["without"]["discriminator"]))
    assert not all(map(torch.equal, gradients["with"]["generator"], gradients["without"]["generator"]))


def test_alone_it_brings_the_means_together():
    """With a frozen D, a point generator converges to the mean of the reals' features."""
    torch.manual_seed(0)
    point, critic = Maker(nn.Linear(3, 2)), Critic(nn.Identity(), nn.Linear(2, 1))
    plays = playing({"feature_matching": FeatureMatching(gap="sum_square")}, nets=(point, critic), replaced=True)
    plays.discriminator.every = 10**9
    data = batches(1, n=512) * 400
    data[0].x.add_(torch.tensor([3.0, -2.0]))
    fit(plays, data)
    assert set(plays.last_losses["generator"][0]) == {"feature_matching"}
    plays = plays.sample(20_000).mean(0)
    assert torch.allclose(plays, data[0].x.mean(0), atol=0.1)


def test_the_batch_is_not_split_since_the_term_is_no_mean_over_samples():
    with pytest.raises(ValueError, match="accumulate=2"):
        Player(networks()[0], torch.optim.SGD, hinge.generator, {"fm": FeatureMatching()}, accumulate=2)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "objective", ["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"]
)
def test_a_round_is_finite_with_every_objective_and_penalty(objective, rule):
    for penalty in (R1, R2, GradientPenalty, HistoricalAveraging):
        terms = {"feature_matching": FeatureMatching(), "historical_averaging": HistoricalAveraging()}
        plays = playing(terms, rule, None, import_module(f"saddlepoint.objective.{objective}"), {"own": penalty()})
        before = copy.deepcopy(plays.generator.network.state_dict())
        fit(plays, batches(2))
        assert set(plays.last_losses["generator"][0]) == {"adversarial", *terms}
        assert all(torch.isfinite(p).all() for p in plays.parameters())
        assert any(not torch.equal(w, before[key]) for key, w in plays.generator.network.state_dict().items())


def test_it_draws_no_random_numbers():
    states, seen = [], []
    for terms in ({}, {"fm": FeatureMatching()}, {"ha": HistoricalAveraging()}):
        torch.manual_seed(0)
        plays = playing(terms, penalties={"gp": GradientPenalty()})
        before = torch.get_rng_state()
        fit(plays, batches(3), [Watch(after=lambda g, i: seen.append(g.rounds))])
        states.append([plays.streams["latent"].state, plays.streams["augment"].state])
        assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for other in states[1:] for a, b in zip(states[0], other, strict=True))
    assert len(seen) == 9


def test_features_that_d_does_not_expose_are_refused_with_those_that_it_does():
    x = torch.zeros(4, 1, 2, 2)
    with pytest.raises(Mistake, match="no feature conv9; it has map, flat, square"):
        FeatureMatching(["map", "conv9"])(turn_of(x, x))
    with pytest.raises(Mistake, match="no features to match; it has none"):
        FeatureMatching()(turn_of(x, x, lambda x, y=None: DiscriminatorOutput(x.flatten(1).sum(1))))


def test_unknown_features_are_refused_before_training():
    words = ["regularizer=[feature_matching]", "regularizer.generator.feature_matching.features=conv9"]
    message = r"regularizer\.generator\.feature_matching: .* no feature conv9; it has hidden1, hidden2"
    with pytest.raises(Mistake, match=message):
        build_game(compose(words))


@pytest.mark.parametrize("settings", [{"gap": "l1"}, {"features": []}])
def test_invalid_features_and_gaps_are_refused(settings):
    with pytest.raises(ValueError, match="feature matching"):
        FeatureMatching(**settings)


@pytest.mark.parametrize("overrides", [[], ["objective.generator=null"]], ids=["added", "replaced"])
def test_it_is_added_to_or_replaces_the_objective_of_the_generator(overrides):
    plays = build_game(compose(["regularizer=[feature_matching]", *overrides]))
    assert list(plays.generator.terms) == ["feature_matching"]
    assert plays.discriminator.terms == {}
    assert (plays.generator.objective is None) == bool(overrides)
