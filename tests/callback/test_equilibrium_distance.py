"""The distance from an equilibrium: the largest of the last rounds, also after a resume."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from play import Watch, batches, fit, game
from rich.console import Console
from torch import nn

from saddlepoint.callback.equilibrium_distance import EquilibriumDistance
from saddlepoint.config.compose import compose
from saddlepoint.data.point import Point
from saddlepoint.error import Mistake
from saddlepoint.experiment.train import train
from saddlepoint.objective import wasserstein
from saddlepoint.turn import DiscriminatorOutput

TOY = [
    "experiment=salimans2016_historical_averaging", "logger=none", "callback.equilibrium_distance.rounds=10",
]  # fmt: skip


class Number(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value]))

    def forward(self, x, y=None):
        if isinstance(x, dict):
            return self.value.expand(len(x["z"]), 1)
        return DiscriminatorOutput((x * self.value).flatten(), {"x": x})


def train_numbers(callback, rounds, values):
    plays = game(wasserstein, nets=(Number(1.0), Number(2.0)), optimizer=partial(torch.optim.SGD, lr=0.5), z=1)

    def after(g, i):
        values.append((g.players["generator"].network.value.item(), g.players["discriminator"].network.value.item()))

    fit(plays, batches(rounds, 4, (1,)), [callback, Watch(after=after)])
    return plays


@pytest.mark.parametrize("remembered", [1, 3, 100])
def test_the_score_is_the_largest_distance_of_the_last_rounds(remembered):
    trial = []
    train_numbers(EquilibriumDistance(), 8, trial)
    goal = trial[-1]  # where it ends, so that the largest is not the last
    callback, values = EquilibriumDistance({"generator": [goal[0]], "discriminator": [goal[1]]}, remembered), []
    plays = train_numbers(callback, 8, values)
    distances = np.hypot(*(np.array(values) - goal).T)
    ((key, score),) = callback.final_scores(plays, Point()).items()
    assert score.value == pytest.approx(distances[-remembered:].max(), rel=1e-6)
    assert score.value > 0.1 or remembered == 1
    assert key == score.contract.score_name == f"distance_players_{min(remembered, 8)}_train"
    assert score.contract.weights == "raw"
    assert score.contract.settings["equilibrium"] == {"generator": [goal[0]], "discriminator": [goal[1]]}


def test_the_default_equilibrium_is_the_origin_and_there_is_no_score_before_a_round():
    callback, values = EquilibriumDistance(rounds=1), []
    assert callback.final_scores(None, Point()) == {}
    plays = train_numbers(callback, 2, values)
    (score,) = callback.final_scores(plays, Point()).values()
    assert score.value == pytest.approx(np.hypot(*values[-1]), rel=1e-6)


def test_a_nan_in_any_round_makes_the_score_nan():
    """At any position: Python's max would ignore a NaN that is not the first value."""
    for position in range(3):
        callback = EquilibriumDistance(rounds=3)
        callback.distances.extend(float("nan") if i == position else 0.1 for i in range(3))
        (score,) = callback.final_scores(None, Point()).values()
        assert np.isnan(score.value)


def test_an_equilibrium_of_the_wrong_size_is_refused():
    with pytest.raises(Mistake, match=r"equilibrium\.generator has 2 values, and generator has 1 parameters"):
        train_numbers(EquilibriumDistance({"generator": [1.0, 2.0]}), 1, [])
    with pytest.raises(ValueError, match="rounds=0"):
        EquilibriumDistance(rounds=0)


def test_a_resumed_run_keeps_the_distances_of_earlier_rounds(tmp_path):
    """Stopped five rounds before the end; the score is over ten rounds."""
    scores = {}
    for name, lengths in {"straight": [40], "stopped": [35, 40]}.items():
        for images in lengths:
            overrides = [*TOY, f"images={images}", f"outputs={tmp_path / name}"]
            record = train(compose(overrides), Console(file=io.StringIO()))
        scores[name] = record.summary["final"]["distance_players_10_train"]["value"]
    assert scores["straight"] == scores["stopped"] > 0
