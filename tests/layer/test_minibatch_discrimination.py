"""Minibatch discrimination: closeness, initialisation, dependence between samples, and use in any architecture."""

import copy
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from play import RULES, Maker, batches, fit, game, networks
from runs import run
from torch import nn

from saddlepoint.architecture.discriminator import Discriminator
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.game.player import Player
from saddlepoint.layer.minibatch_discrimination import MinibatchDiscrimination
from saddlepoint.objective import hinge, nonsaturating
from saddlepoint.regularizer.feature_matching import FeatureMatching
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.historical_averaging import HistoricalAveraging
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2

NECK = "+layer@architecture.discriminator.neck=minibatch_discrimination"


def layer(features=6, kernels=4, dimensions=3, started=True):
    """Return an initialised layer in float64 with random scales and biases."""
    neck_layer = MinibatchDiscrimination(features, kernels, dimensions).double()
    if started:
        neck_layer.started = True
        nn.init.normal_(neck_layer.log_scale)
        nn.init.normal_(neck_layer.bias)
    return neck_layer


def by_hand(neck_layer, f):
    """Compute [f, o + bias] by loops over samples, kernels and dimensions."""
    theta, log_scale, bias = (p.detach().numpy() for p in (neck_layer.theta, neck_layer.log_scale, neck_layer.bias))
    f = f.detach().numpy()
    _, kernels, dimensions = theta.shape
    m = np.zeros((len(f), kernels, dimensions))
    for b in range(kernels):
        for c in range(dimensions):
            column = theta[:, b, c] / np.sqrt((theta[:, b, c] ** 2).sum()) * np.exp(log_scale[b, c])
            m[:, b, c] = f @ column
    o = np.zeros((len(f), kernels))
    for i in range(len(f)):
        for j in range(len(f)):
            if i != j:
                o[i] += np.exp(-np.abs(m[i] - m[j]).sum(1))
    return np.concatenate([f, o + bias], 1)


def critic(width=8, x=2, kernels=4):
    """Return a discriminator of points with the layer as its neck."""
    trunk = {"hidden": nn.Sequential(nn.Linear(x, width), nn.LeakyReLU(0.2))}
    return Discriminator(trunk, width, neck=lambda features: MinibatchDiscrimination(features, kernels, 3))


# ----------------------------------------------------------------------------------------------- closeness


def test_the_output_equals_explicit_loops_over_pairs():
    neck_layer, f = layer(), torch.randn(7, 6, dtype=torch.float64)
    assert np.allclose(neck_layer(f).detach().numpy(), by_hand(neck_layer, f), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 64])
def test_before_the_bias_closeness_is_0_for_distant_samples_and_n_minus_1_for_equal_ones(n):
    neck_layer = layer()
    far = torch.randn(n, 6, dtype=torch.float64) * 1e6
    assert neck_layer.closeness(far).abs().max() < 1e-100
    same = torch.randn(1, 6, dtype=torch.float64).expand(n, 6)
    # not bit for bit: a matrix product may round equal rows differently
    torch.testing.assert_close(neck_layer.closeness(same), torch.full((n, 4), n - 1.0).double(), rtol=1e-12, atol=1e-12)


def test_permuting_the_batch_permutes_the_output():
    neck_layer, f, order = layer(), torch.randn(9, 6, dtype=torch.float64), torch.randperm(9)
    assert torch.allclose(neck_layer(f)[order], neck_layer(f[order]), atol=1e-12)


def test_the_output_depends_on_log_scale_but_not_on_the_norm_of_theta():
    neck_layer, f = layer(), torch.randn(5, 6, dtype=torch.float64)
    before = neck_layer(f)
    neck_layer.theta.data.mul_(torch.rand(4, 3) + 0.5)
    assert torch.allclose(neck_layer(f), before, atol=1e-12)
    neck_layer.log_scale.data.add_(1.0)
    assert not torch.allclose(neck_layer(f), before, atol=1e-3)


def test_descending_the_sum_of_its_outputs_separates_samples_a_thousandth_apart():
    torch.manual_seed(0)
    neck_layer = layer(started=False)
    centre = torch.randn(6, dtype=torch.float64)
    f = (centre + 1e-3 * torch.randn(8, 6, dtype=torch.float64)).requires_grad_()
    spread = [torch.pdist(f.detach()).min().item()]
    for _ in range(200):
        (gradient,) = torch.autograd.grad(neck_layer.closeness(f).sum(), f)
        f = (f - 0.01 * gradient).detach().requires_grad_()
    spread.append(torch.pdist(f.detach()).min().item())
    assert spread[0] < 1e-2
    assert spread[1] > 100 * spread[0]
    assert neck_layer.closeness(f).max() < 0.5 * 7


def test_its_gradients_and_those_of_a_penalty_through_it_are_correct():
    neck_layer, f = layer(3, 2, 2), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(neck_layer, f)
    assert torch.autograd.gradgradcheck(neck_layer, f)


# ------------------------------------------------------------------------------------------------------- initialisation


def test_initialisation_sets_half_the_mean_nearest_distance_to_1_and_the_mean_output_to_0():
    neck_layer, f = layer(started=False), 7 * torch.randn(40, 6, dtype=torch.float64) + 3
    assert torch.equal(neck_layer.bias.data, torch.full((4,), -1.0, dtype=torch.float64))
    out = neck_layer.train()(f)
    m = (
        torch.einsum("nf,fbc->nbc", f, neck_layer.theta / neck_layer.theta.norm(dim=0) * neck_layer.log_scale.exp())
        .detach()
        .numpy()
    )
    for b in range(4):
        pairs = np.abs(m[:, None, b] - m[None, :, b]).sum(2) + np.diag(np.full(40, np.inf))
        assert pairs.min(1).mean() / 2 == pytest.approx(1.0, abs=1e-12)
    assert out[:, 6:].mean(0).abs().max() < 1e-12
    assert torch.equal(out[:, :6], f)


def test_initialisation_happens_once_in_training_and_is_saved_in_the_state_dict():
    neck_layer, f = layer(started=False), torch.randn(2, 12, 6, dtype=torch.float64)
    fresh = copy.deepcopy(neck_layer.state_dict())
    neck_layer.eval()(f[0])
    assert all(
        torch.equal(value, fresh[key]) for key, value in neck_layer.state_dict().items() if key != "_extra_state"
    )
    neck_layer.train()(f[0])
    begun = copy.deepcopy(neck_layer.state_dict())
    assert not torch.equal(begun["log_scale"], fresh["log_scale"])
    neck_layer(f[1])
    other = layer(started=False)
    other.load_state_dict(begun)
    other.train()(f[1])
    for module in (neck_layer, other):
        assert torch.equal(module.log_scale, begun["log_scale"])
        assert torch.equal(module.bias, begun["bias"])


def test_a_batch_of_equal_samples_initialises_it_with_finite_numbers():
    neck_layer = layer(started=False)
    out = neck_layer.train()(torch.ones(5, 6, dtype=torch.float64))
    assert torch.isfinite(out).all()
    assert torch.equal(neck_layer.log_scale.data, torch.zeros(4, 3, dtype=torch.float64))


def test_the_dry_run_before_training_does_not_initialise_it():
    plays = build_game(compose([NECK]))
    assert plays.discriminator.network.neck.started is False
    assert plays.discriminator.network.neck.training


def test_it_is_initialised_from_the_first_reals():
    torch.manual_seed(0)
    plays = game(nonsaturating, nets=(networks()[0], critic()), d={"every": 1}, g={"every": 10**9})
    before = copy.deepcopy(plays.discriminator.network)
    data = batches(1)
    plays.discriminator._optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    fit(plays, data)
    before.train()(data[0].x)
    assert torch.equal(before.neck.log_scale, plays.discriminator.network.neck.log_scale)
    assert torch.equal(before.neck.bias, plays.discriminator.network.neck.bias)


# -------------------------------------------------------------------------------------- dependence between samples


@pytest.mark.parametrize("rule", RULES)
def test_the_output_on_reals_does_not_depend_on_fakes(rule):
    """D's logits of reals do not depend on the fakes; those of fakes do."""
    logits = []
    d = critic()
    for shift in (0.0, 50.0):
        torch.manual_seed(0)
        nets = Maker(nn.Linear(3, 2)), copy.deepcopy(d)
        nets[0].network.bias.data += shift
        plays = game(nonsaturating, {"r1": R1()}, rule, nets=nets, g={"every": 10**9})
        sizes = []
        nets[1].neck.register_forward_hook(lambda module, args, out, sizes=sizes: sizes.append(len(args[0])))
        fit(plays, batches(1))
        assert sizes == [16, 16]
        logits.append(plays.last_losses["discriminator"][1])
    assert torch.equal(logits[0]["real"], logits[1]["real"])
    assert not torch.equal(logits[0]["fake"], logits[1]["fake"])


def test_the_output_on_a_real_depends_on_the_other_reals():
    neck_layer, f = layer(), torch.randn(5, 6, dtype=torch.float64)
    moved = f.clone()
    moved[4] += 10
    assert not torch.equal(neck_layer(f)[0, 6:], neck_layer(moved)[0, 6:])


# --------------------------------------------------------------------------------------------- in a game

OBJECTIVES = ["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"]
TERMS = {"r1": R1, "r2": R2, "gradient_penalty": GradientPenalty, "historical_averaging": HistoricalAveraging}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("term", [None, *TERMS])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rounds_are_finite_with_every_objective_and_every_term(objective, term, rule):
    torch.manual_seed(0)
    terms = {} if term is None else {term: TERMS[term]()}
    plays = game(import_module(f"saddlepoint.objective.{objective}"), terms, rule, nets=(networks()[0], critic()))
    old = plays.generator
    plays.players["generator"] = Player(old.network, old._optimizer, old.objective, {"fm": FeatureMatching()})
    before = copy.deepcopy(plays.discriminator.network.state_dict())
    fit(plays, batches(2))
    after = plays.discriminator.network.state_dict()
    assert all(torch.isfinite(p).all() for p in plays.parameters())
    assert not torch.equal(before["neck.theta"], after["neck.theta"])


def test_it_draws_no_random_numbers_in_a_game():
    states = []
    for discriminator in (critic(), networks()[1]):
        plays = game(nonsaturating, {"gp": GradientPenalty()}, nets=(networks()[0], discriminator))
        before = torch.get_rng_state()
        fit(plays, batches(3))
        assert torch.equal(before, torch.get_rng_state())
        states.append([stream.state for stream in plays.streams.values()])
    assert all(map(torch.equal, *states))


def test_matched_features_are_those_of_the_trunk_with_and_without_it():
    d = critic()
    assert list(d.train()(torch.randn(4, 2)).features) == ["hidden"]


def test_heads_and_readout_take_the_wider_features():
    neck = {"neck": lambda features: MinibatchDiscrimination(features, 4, 3)}
    d = Discriminator({"flat": nn.Flatten()}, 6, **neck, heads={"label": 10})
    assert d(torch.randn(3, 6)).heads["label"].shape == (3, 10)
    assert d.readout.linear.in_features == d.heads["label"].in_features == 10


@pytest.mark.parametrize("who", ["d", "g"])
def test_a_batch_is_not_split_for_any_player(who):
    with pytest.raises(ValueError, match=r"MinibatchDiscrimination uses the whole batch.*accumulate=2"):
        game(hinge, nets=(networks()[0], critic()), **{who: {"accumulate": 2}})


def test_a_batch_of_one_is_refused_in_training_and_accepted_in_evaluation():
    neck_layer = layer()
    with pytest.raises(Mistake, match="a batch"):
        neck_layer.train()(torch.randn(1, 6, dtype=torch.float64))
    alone = neck_layer.eval()(torch.randn(1, 6, dtype=torch.float64))
    assert torch.equal(alone[0, 6:], neck_layer.bias)


@pytest.mark.parametrize("wrong", [{"kernels": 0}, {"dimensions": 1.5}])
def test_invalid_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MinibatchDiscrimination(6, **wrong)


# ----------------------------------------------------------------------------------------- configuration

ANYWHERE = {
    "mlp": ["architecture=mlp"],
    "conv28": ["architecture=conv28", "data=mnist"],
    "dcgan": [
        "architecture=dcgan",
        "data=cifar10_jpeg",
        *(f"architecture.{p}.width=8" for p in ("generator", "discriminator")),
    ],
}


@pytest.mark.parametrize("words", ANYWHERE.values(), ids=ANYWHERE)
@pytest.mark.parametrize("terms", ["[]", "[feature_matching,historical_averaging]"])
def test_it_is_one_override_on_any_architecture_alone_and_together(words, terms):
    config = compose([*words, NECK, "architecture.discriminator.neck.kernels=5", f"regularizer={terms}"])
    check(config)
    assert config.choice["layer@architecture.discriminator.neck"] == "minibatch_discrimination"
    plays = build_game(config)
    neck = plays.discriminator.network.neck
    assert isinstance(neck, MinibatchDiscrimination)
    assert neck.theta.shape[1:] == (5, 5)
    assert plays.discriminator.network.readout.linear.in_features == len(neck.theta) + 5


def test_a_run_with_a_batch_of_one_ends_with_an_error_message(tmp_path: Path):
    with pytest.raises(Mistake, match="a batch"):
        run(tmp_path, NECK, "batch=1", "metric=[]")
