from itertools import product
from math import sqrt

import numpy as np
import pytest
import torch

from saddlepoint.data.gaussians import MIXTURES, Gaussians
from saddlepoint.error import Mistake


def published(kind):
    """The modes as in the papers' code, [M', 2], with repetitions."""
    angles = np.linspace(0, 2 * np.pi, 8) if kind == "ring-U" else 2 * np.pi * np.arange(8) / 8
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    grid = np.array(list(product([-4, -2, 0, 2, 4], repeat=2)), dtype=float)
    return {
        "ring-P": (ring, 0.01),
        "ring-U": (ring, 0.01),
        "ring-W": (2 * ring / 1.414, 0.02 / 1.414),
        "grid-P": (grid, 0.05),
        "grid-W": (grid / 2.828, 0.05 / 2.828),
    }[kind]


@pytest.mark.parametrize("kind", MIXTURES)
def test_modes_and_sigma_are_the_published_ones(kind):
    data, (modes, sigma) = Gaussians(kind), published(kind)
    distinct, counts = np.unique(modes.round(6) + 0.0, axis=0, return_counts=True)
    mine = (data.modes.numpy().astype(float).round(6) + 0.0).tolist()
    order = sorted(range(len(mine)), key=mine.__getitem__)
    assert np.allclose([mine[i] for i in order], distinct, atol=2e-6)
    assert np.allclose(data.weights[order], counts / len(modes))
    assert data.sigma == sigma


def test_the_ring_of_unrolled_gan_has_seven_distinct_modes():
    data = Gaussians("ring-U")
    assert data.classes == len(data.modes.unique(dim=0)) == 7
    assert data.weights.tolist() == [0.25] + [0.125] * 6


@pytest.mark.parametrize("kind", MIXTURES)
def test_points_follow_the_modes_sigma_and_weights(kind):
    data = Gaussians(kind)
    split = data.split("train")
    z = (split.x - data.modes[split.y]) / data.sigma
    n = z.numel()
    assert abs(z.square().mean() - 1) < 5 * sqrt(2 / n)
    assert abs(z.mean()) < 5 / sqrt(n)
    assert (z.square().sum(1) < 9).float().mean() == pytest.approx(0.98889, abs=0.002)  # 1 - exp(-9/2)
    share = split.y.bincount() / len(split)
    assert ((share - data.weights).abs() < 5 * (data.weights / len(split)).sqrt()).all()


def test_points_depend_on_split_and_draw_but_not_on_the_seed():
    data = Gaussians(number=500, seed=1)
    assert data.describe() == Gaussians(number=500, seed=2).describe()
    assert data.describe()["sizes"] == {"train": 500, "validation": 10_000, "test": 10_000}
    draws = {*data.describe()["sha256"].values(), Gaussians(number=500, draw=1).split("train").sha256}
    assert len(draws) == 4


def test_points_pass_through_the_stream_unchanged():
    data = Gaussians("grid-P", number=40, batch=40)
    batch = next(data.training_batches())
    assert batch.x.dtype == torch.float32
    assert batch.x.sort(0).values.equal(data.split("train").x.sort(0).values)


def test_an_unknown_kind_is_refused_with_the_closest_names():
    with pytest.raises(Mistake, match=r"data\.kind=ring-p: no such mixture\. Closest: ring-\w"):
        Gaussians("ring-p")
    with pytest.raises(Mistake, match=r"ring-P, ring-U, ring-W, grid-P, grid-W"):
        Gaussians("zzz")
    with pytest.raises(Mistake, match=r"data\.number=0"):
        Gaussians(number=0)
    with pytest.raises(Mistake, match=r"data\.classes=9"):
        Gaussians(classes=9).setup()
