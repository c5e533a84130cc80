"""Augmentation in front of D: on every judged side, with streams of its own, logged, and without a leak into G."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from play import Watch, fit
from torch import nn

from saddlepoint.callback.journal import Journal, logged_numbers
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build_game
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.layer.adaptive_augment import AdaptiveAugment
from saddlepoint.layer.diff_augment import DiffAugment
from saddlepoint.objective import wasserstein
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.prior.uniform import Uniform
from saddlepoint.regularizer.r1 import R1
from saddlepoint.turn import Batch, DiscriminatorOutput

STREAM = torch.Generator().manual_seed(0)
SMALL = ["architecture.generator.widths=[8]", "architecture.discriminator.widths=[8]", "prior.z.dim=3"]
GAMES = {"diff_augment": [], "adaptive_augment": ["game.makers.augment.start=0.9"]}


def turns_of(game_name, *overrides):
    """One turn of each player with all its losses computed, and the game."""
    game = build_game(compose([f"game={game_name}", *SMALL, *GAMES.get(game_name, []), *overrides]))
    images = torch.rand(2, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    batch = Batch(images[0], labelled=(images[1], torch.arange(16) % 10))
    turns = {}
    for name, player in game.players.items():
        turns[name], draws = game.build_turns(batch, [name])[0]
        player.losses(replace(turns[name], player=player), 0, draws[0])
    return game, batch, turns


@pytest.mark.parametrize("name", GAMES)
def test_every_side_that_d_judges_is_augmented_by_the_same_module_whatever_the_terms(name):
    terms = ["regularizer=[r1,r2,gradient_penalty,approximated_r1,lecam,feature_matching,classification]",
             "architecture.discriminator.heads={label: 10}", "objective=relativistic", "data.labels=5"]  # fmt: skip
    game, batch, turns = turns_of(name, *terms)
    for player, turn in turns.items():
        judged = {side: sample for side, sample in turn.samples.items() if sample.is_judged}
        assert set(judged) == {"augmented_real", "augmented_fake"} | (
            {"labelled"} if player == "discriminator" else set()
        )
        assert all(game.sides[side].by == ("augment",) for side in judged)
    shown = turns["discriminator"].samples
    assert shown["augmented_real"].x.is_leaf, "r1 takes its slope at the augmented reals"
    assert shown["augmented_real"].x.requires_grad
    for side, x in (("augmented_real", batch.x), ("labelled", batch.labelled[0]), ("augmented_fake", shown["fake"].x)):
        assert (shown[side].x != x).flatten(1).any(1).double().mean() > 0.5, side


@pytest.mark.parametrize("name", GAMES)
def test_its_numbers_have_streams_of_their_own_so_latents_are_those_of_the_plain_game(name):
    (_, _, plain), (game, _, turns) = turns_of("two_player"), turns_of(name)
    for player, turn in turns.items():
        assert torch.equal(turn.latent["z"], plain[player].latent["z"])
        assert not torch.equal(turn.draws["augment_real"]["z"], turn.draws["augment_fake"]["z"])
    assert {"latent/augment_real", "latent/augment_fake", "latent/augment_labelled"} <= set(game.streams)


@pytest.mark.parametrize(
    ("name", "key"), [("adaptive_augment", "augment/p"), ("adaptive_pseudo_augment", "pseudo/p"), ("two_player", None)]
)
def test_the_probability_is_logged_with_every_logger(name, key):
    start = [] if key is None else [f"game.makers.{key.partition('/')[0]}.start=0.25"]
    game, _, _ = turns_of(name, *start)
    assert logged_numbers(game) == ({} if key is None else {key: 0.25})
    rows = []
    trainer = SimpleNamespace(loggers=2 * [SimpleNamespace(log_metrics=lambda row, step: rows.append(row))])
    Journal(100).on_due(trainer, game)
    assert [row.get(key) for row in rows] == ([None, None] if key is None else [0.25, 0.25])


# ------------------------------------------------------------------------------------------------------------ leaks
# An augmentation leaks nothing if different distributions stay different behind it: then D tells G from the data unless
# G has the distribution of the data.


def transition_matrix(layer, images, numbers):
    """P [i, j]: the share of the rows of `numbers` that turn images[i] into images[j]."""
    rows = [layer(image.expand(len(numbers), *image.shape), {"numbers": numbers}) for image in images]
    return torch.stack([(row[:, None] == images).flatten(2).all(2).double().mean(0) for row in rows])


@pytest.mark.parametrize("p", [0.0, 0.5, 0.8, 1.0])
def test_flips_leak_if_and_only_if_they_are_always_applied(p):
    """P has the eigenvalues 1 and 1 - p: at p = 1, and only there, an image and its mirror image are the same to D."""
    places = (torch.arange(20) + 0.5) / 20  # a midpoint grid, exact for multiples of 1/20
    numbers = torch.zeros(400, 9)
    numbers[:, :2] = torch.cartesian_prod(places, places)
    layer = AdaptiveAugment(start=p, translate=0.0, brightness=0.0, contrast=0.0)
    matrix = transition_matrix(layer, torch.tensor([[[[1.0, 2.0]]], [[[2.0, 1.0]]]]), numbers)
    assert torch.linalg.eigvalsh(matrix).tolist() == pytest.approx([1 - p, 1], abs=1e-12)
    real, fake = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64) @ matrix  # the data, and a G that differs
    logits = (real / fake).log()  # of the optimal D
    assert bool(logits.abs().max() < 1e-12) == (p == 1)


@pytest.mark.parametrize(("side", "leaks"), [(4, False), (8, True), (16, False), (32, True)])
def test_translation_that_is_always_applied_leaks_for_some_sizes_of_images(side, leaks):
    """P is a band matrix of ones over 2 r + 1, which is regular if and only if side modulo 2 r + 1 is 0 or 1."""
    steps = 2 * int(side / 8 + 0.5) + 1
    numbers = torch.full((steps, 7), 0.5)
    numbers[:, 4] = (torch.arange(steps) + 0.5) / steps  # every horizontal shift once
    points = torch.eye(side)[:, None, None]  # images with one white pixel, [side, 1, 1, side]
    matrix = transition_matrix(DiffAugment(policies=["translation"]), points, numbers)
    distance = (torch.arange(side)[:, None] - torch.arange(side)).abs()
    assert torch.allclose(matrix, (distance <= steps // 2).double() / steps, atol=1e-12)
    assert leaks == (side % steps not in (0, 1))
    assert (torch.linalg.svdvals(matrix)[-1].item() < 1e-12) == leaks


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_shifts_of_points_never_leak(p):
    """The characteristic function of the shift is 1 - p + p exp(-t^2 s^2 / 2), which has no zero."""
    numbers = torch.rand(100_000, 2, generator=STREAM)
    shifts = AdaptiveAugment(start=p, shift=0.5)(torch.zeros(100_000, 1), {"numbers": numbers})
    for t in (0.5, 2.0, 8.0):
        expected = 1 - p + p * math.exp(-((0.5 * t) ** 2) / 2)
        assert (t * shifts).cos().mean().item() == pytest.approx(expected, abs=0.02)


class Affine(nn.Module):
    """G(z) = a z + b, of shape [N, *shape]."""

    def __init__(self, shape):
        super().__init__()
        self.a, self.b, self.shape = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.5)), shape

    def forward(self, latent, condition=None):
        return (self.a * latent["z"] + self.b).view(-1, *self.shape)


class Quadratic(nn.Module):
    """D(x) = u x + v x^2, which compares means and mean squares."""

    def __init__(self):
        super().__init__()
        self.u, self.v = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, x, condition=None):
        x = x.flatten()
        return DiscriminatorOutput(self.u * x + self.v * x.square())


LAYERS = {  # the layer, the shape of a sample, and the variance that it adds to it
    "adaptive": (partial(AdaptiveAugment, start=0.5, speed=None, shift=1.0), (1,), 0.5),
    "differentiable": (partial(DiffAugment, policies=["color"]), (1, 1, 1), 1 / 12),
}


@pytest.mark.parametrize("fakes_too", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_trained_generator_shows_the_augmentation_only_if_fakes_are_not_augmented(name, fakes_too):
    """Data N(0, s^2), a variance v added: at equilibrium G has variance s^2, and s^2 + v if D sees its fakes plain."""
    build, shape, added = LAYERS[name]
    std, rounds, n = 0.3, 300, 256
    judged = {"judge": {"player": "discriminator", "condition": {}}}
    sides = {
        "real": {"of": "x", "judge": "discriminator"},
        "fake": {"by": "generator", "judge": "discriminator"},
        "augmented_real": {"of": "x", "by": "augment", "condition": {"numbers": "r.z"}, **judged},
        "augmented_fake": {"of": "fake", "by": "augment", "condition": {"numbers": "f.z"}, **judged},
    }
    sees = {"real": "augmented_real", "fake": "augmented_fake" if fakes_too else "fake"}
    sgd = partial(torch.optim.Adam, lr=0.02, betas=(0.0, 0.99))
    players = {
        "discriminator": Player(Quadratic(), sgd, wasserstein.discriminator, {"r1": R1(2.0)}, sees=sees),
        "generator": Player(Affine(shape), sgd, wasserstein.generator, sees=sees),
    }
    draws = {key: Prior(z=Uniform(9, 0.0, 1.0)) for key in "rf"}
    game = Game(players, Prior(z=Normal(1)), sides=sides, makers={"augment": build()}, draws=draws)
    variances = []
    rows = std * torch.randn(rounds, n, *shape, generator=torch.Generator().manual_seed(1))
    watch = Watch(after=lambda g, i: variances.append(g.player("generator").network.a.item() ** 2))
    fit(game, [Batch(row) for row in rows], [watch])
    variance = sum(variances[rounds // 2 :]) / (rounds - rounds // 2)
    assert variance == pytest.approx(
        std**2 + (0 if fakes_too else added), abs=0.03 if name == "differentiable" else 0.1
    )
