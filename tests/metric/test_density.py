"""Density: properties, and comparison with its definition written as loops."""

import math

import pytest
import torch
from torch import Tensor

from saddlepoint.metric.density import density
from saddlepoint.metric.precision import precision


def gaussian(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_definition(real: Tensor, fake: Tensor, k: int) -> float:
    """Naeem et al.'s formula, one pair at a time."""
    reals, count = real.double().tolist(), 0
    for i, x in enumerate(reals):
        others = sorted(math.dist(x, other) for j, other in enumerate(reals) if j != i)
        count += sum(math.dist(x, y) < others[k - 1] for y in fake.double().tolist())
    return count / (k * len(fake))


def test_points_on_a_line_are_counted_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0]])  # with k = 1 the balls are (-1, 1), (0, 2) and (1, 5)
    for x, count in ((-1.0, 0), (0.5, 2), (1.0, 1), (1.5, 2), (2.0, 1), (5.0, 0)):
        assert density(real, torch.tensor([[x]]), k=1).item() == count


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_density_matches_its_definition(k: int, shift: float) -> None:
    real, fake = gaussian(60), gaussian(45, seed=1) * 0.8 + shift
    assert density(real, fake, k).item() == pytest.approx(by_definition(real, fake, k), abs=1e-12)


@pytest.mark.parametrize(("n", "m", "k", "d"), [(80, 50, 5, 4), (30, 60, 3, 1), (40, 40, 1, 20)])
def test_fakes_like_the_reals_have_density_one_on_average(n: int, m: int, k: int, d: int) -> None:
    values = torch.stack([density(gaussian(n, d, i), gaussian(m, d, 10_000 + i), k) for i in range(300)])
    assert abs(values.mean() - 1) < 4 * values.std() / 300**0.5
    assert values.std() / 300**0.5 < 0.02


def test_fakes_in_dense_regions_exceed_one_and_far_ones_have_none() -> None:
    real = gaussian(200)
    assert density(real, 0.1 * gaussian(100, seed=1)).item() > 1.5
    assert density(real, gaussian(100, seed=1) + 1000).item() == 0


def test_an_outlier_among_the_reals_has_little_weight() -> None:
    """Its ball is large: noise in it has a high precision but a low density."""
    real = torch.cat([gaussian(200), torch.full((1, 4), 100.0)])
    noise = gaussian(100, seed=1) + 50  # between the reals and the outlier
    assert precision(real, noise, k=5).item() == 1
    assert density(real, noise, k=5).item() == pytest.approx(1 / 5)


def test_copies_of_duplicated_reals_are_counted() -> None:
    repeated = gaussian(5).repeat(10, 1)  # balls are points, and each fake is in 10 of them
    assert density(repeated, repeated, k=5).item() == 2
    assert density(repeated, repeated + 1e-3, k=5).item() == 0
