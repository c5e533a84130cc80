"""Twenty rounds of ours are twenty rounds written out by hand."""

import copy
from functools import partial
from importlib import import_module

import handwritten
import pytest
import torch
from play import RULES, batches, fit, networks
from torch import nn

from saddlepoint.game.average import Average
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2

PENALTY = {"r1": R1, "r2": R2, "gradient_penalty": GradientPenalty}
CASES = {  # objective, penalties {name: (weight, every)}, the generator's period, rule
    "minimax": ("minimax", {}, 1, "alternating"),
    "nonsaturating": ("nonsaturating", {}, 1, "alternating"),
    "hinge": ("hinge", {}, 1, "alternating"),
    "wasserstein + gradient penalty at 5:1": ("wasserstein", {"gradient_penalty": (10.0, 1)}, 5, "alternating"),
    "relativistic + r1 + r2": ("relativistic", {"r1": (0.5, 1), "r2": (0.25, 1)}, 1, "alternating"),
    "lazy r1": ("nonsaturating", {"r1": (2.0, 4)}, 1, "alternating"),
    "simultaneous": ("nonsaturating", {}, 1, "simultaneous"),
    "simultaneous relativistic + r1 + lazy r2": ("relativistic", {"r1": (1.0, 1), "r2": (1.0, 3)}, 1, "simultaneous"),
}
ADAM = {"lr": 1e-2, "betas": (0.5, 0.9)}


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_twenty_rounds_equal_the_loop_written_by_hand(case, fused, double):
    objective, penalties, every, rule = CASES[case]
    torch.manual_seed(5)
    generator, discriminator = networks()
    G, D = copy.deepcopy(generator.network), copy.deepcopy(nn.Sequential(discriminator.trunk, discriminator.last))
    data = batches(20, dtype=torch.float64)
    average = handwritten.play(
        G, D, [batch.x for batch in data], objective, penalties, every, rule == "simultaneous", ADAM, 100.0, 0.5, seed=7
    )
    module = import_module(f"saddlepoint.objective.{objective}")
    terms = {name: PENALTY[name](weight, period) for name, (weight, period) in penalties.items()}
    adam = partial(torch.optim.Adam, **ADAM, fused=fused)
    follow = partial(Average, half_life=100.0, warm_up=0.5)
    players = {
        "discriminator": Player(discriminator, adam, module.discriminator, terms),
        "generator": Player(generator, adam, module.generator, every=every, average=follow),
    }
    game = Game(players, Prior(z=Normal(3)), seed=7, order=RULES[rule])
    fit(game, data)
    ours = [
        generator.network,
        nn.Sequential(discriminator.trunk, discriminator.last),
        game.generator.average.network.network,
    ]
    for name, mine, theirs in zip(("G", "D", "average"), ours, (G, D, average), strict=True):
        expected = theirs.state_dict()
        for key, value in mine.state_dict().items():
            if name == "average" and not value.is_floating_point():
                continue
            assert (value - expected[key]).abs().max() < 1e-10, f"{name}.{key}"
    assert game.images == 20 * 16
