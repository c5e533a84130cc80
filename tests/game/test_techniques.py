"""Pairs of the techniques of Salimans et al. 2016: each is one override, and none changes another one."""

import copy
from functools import cache
from itertools import combinations

import pytest
import torch
from omegaconf import DictConfig
from play import fit

from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build_game, load_data

SMALL = ["architecture.discriminator.widths=[12]", "architecture.generator.widths=[12]", "batch=10"]
FEW = "data.labels=2"
TECHNIQUES = {  # the overrides, and the config key that they set
    "feature matching": (["+regularizer=feature_matching"], "regularizer.generator.feature_matching"),
    "historical averaging": (["+regularizer=historical_averaging"], "regularizer.discriminator.historical_averaging"),
    "one-sided smoothing": (["objective.discriminator.real_label=0.9"], "objective.discriminator"),
    "minibatch discrimination": (
        ["+layer@architecture.discriminator.neck=minibatch_discrimination",
         "architecture.discriminator.neck.kernels=4"],
        "architecture.discriminator.neck",
    ),
    "virtual batch norm": (
        ["+layer@architecture.generator.norm=virtual_batch_norm", "architecture.generator.norm.reference=8"],
        "architecture.generator.norm",
    ),
    "weight norm": (["+layer@architecture.discriminator.norm=weight_norm"], "architecture.discriminator.norm"),
    "few labels": (
        ["+regularizer=classification", FEW, "architecture.discriminator.heads={label: 10}",
         "+layer@architecture.discriminator.readout=log_sum_exp"],
        "architecture.discriminator.readout",
    ),
    "epsilon inside": (["optimizer=adam_inside"], "optimizer.generator"),
}  # fmt: skip
TERMS = ("feature matching", "historical averaging", "few labels")


def overrides_of(*names: str) -> list[str]:
    return [*SMALL, *(text for name in names for text in TECHNIQUES[name][0])]


@cache
def composed(*names: str, rule: str = "two_player") -> DictConfig:
    """The config with these techniques, composed once."""
    return compose([*overrides_of(*names), f"game={rule}"])


def trained_game(*names: str, rule: str = "two_player", rounds: int = 2):
    """The game after some rounds of these techniques on digits."""
    config = composed(*names, rule=rule)
    data = load_data(config)
    game = build_game(config)
    stream = data.training_batches(0)
    fit(game, [next(stream) for _ in range(rounds)])
    return game


@pytest.mark.parametrize(("one", "other"), list(combinations(TECHNIQUES, 2)))
def test_two_techniques_train_together(one: str, other: str) -> None:
    both = composed(one, other)
    check(copy.deepcopy(both))
    for name in (one, other):
        path = TECHNIQUES[name][1]
        node, expected = both, composed(name)
        for key in path.split("."):
            node, expected = node[key], expected[key]
        assert node == expected, f"{name} changes with {other if name == one else one}"
    game = trained_game(one, other)
    assert game.rounds == 2
    assert all(p.isfinite().all() for p in game.parameters())
    assert all(loss.isfinite() for losses, _ in game.last_losses.values() for loss in losses.values())


@pytest.mark.parametrize(("one", "other"), list(combinations(TERMS, 2)))
def test_the_loss_of_a_term_does_not_depend_on_the_other_terms(one: str, other: str) -> None:
    """Exactly, in the first round of simultaneous play, before any player has moved."""
    alone = {name: trained_game(name, rule="simultaneous", rounds=1).last_losses for name in (one, other)}
    both = trained_game(one, other, rule="simultaneous", rounds=1).last_losses
    for name, players in alone.items():
        if "few labels" in (one, other) and name != "few labels":
            continue  # its head and readout make another discriminator
        for player, (losses, _) in players.items():
            for term, loss in losses.items():
                torch.testing.assert_close(both[player][0][term], loss, rtol=0, atol=0)
