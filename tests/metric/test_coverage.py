"""Coverage: properties, and comparison with its definition written as loops."""

import math

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric import neighbour
from saddlepoint.metric.coverage import Coverage, coverage
from saddlepoint.metric.neighbour import neighbour_radius


def gaussian(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_definition(real: Tensor, fake: Tensor, k: int) -> float:
    """Naeem et al.'s formula, one pair at a time."""
    hits = 0
    for i, x in enumerate(real.tolist()):
        others = sorted(math.dist(x, other) for j, other in enumerate(real.tolist()) if j != i)
        hits += any(math.dist(x, y) < others[k - 1] for y in fake.tolist())
    return hits / len(real)


def test_three_reals_and_one_fake_are_counted_by_hand() -> None:
    real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1.5]])
    assert neighbour_radius(real, 1).tolist() == [1, 1, 2]
    assert coverage(real, fake, k=1).item() == pytest.approx(2 / 3)
    # balls are open: the fake at 2 is on the boundary of the ball around 1, and inside the ball around 3
    assert coverage(real, torch.tensor([[2.0]]), k=1).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("rows", [7, 1000])
def test_coverage_matches_its_definition(k: int, shift: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "ROWS", rows)
    real, fake = gaussian(60), gaussian(45, seed=1) + shift
    assert coverage(real, fake, k).item() == pytest.approx(by_definition(real, fake, k), abs=1e-12)


def test_a_set_covers_itself_even_with_duplicates() -> None:
    assert coverage(gaussian(50), gaussian(50)).item() == 1
    repeated = gaussian(5).repeat(10, 1)  # each ball shrinks to a point
    assert coverage(repeated, repeated).item() == 1
    assert coverage(repeated, repeated + 1e-3).item() == 0


def test_far_fakes_cover_nothing_and_one_mode_covers_itself() -> None:
    near, far = gaussian(50), gaussian(50, seed=1) + 1000
    assert coverage(near, far).item() == 0
    assert coverage(torch.cat([near, far]), near).item() == 0.5


def test_distance_from_the_origin_costs_no_digits() -> None:
    real, fake = gaussian(60).double(), gaussian(45, seed=1).double() + 1
    assert coverage(real + 1e8, fake + 1e8).item() == coverage(real, fake).item()


def test_fakes_like_the_reals_reach_the_expected_coverage() -> None:
    n, m, k = 80, 50, 5
    expected = 1 - math.prod((n - i) / (m + n - i) for i in range(1, k + 1))
    values = torch.tensor([coverage(gaussian(n, seed=i), gaussian(m, seed=10_000 + i), k) for i in range(200)])
    assert abs(values.mean() - expected) < 4 * values.std() / 200**0.5


def test_as_many_reals_as_fakes_are_chosen_and_always_the_same() -> None:
    real, fake = gaussian(100), gaussian(40, seed=1)
    metric = Coverage()
    for chunk in real.split(33):
        metric.update(Features(chunk), real=True)
    metric.update(Features(fake), real=False)
    chosen = metric.reference(40)
    assert chosen["real"].shape == (40, 4)
    assert metric.compute().item() == coverage(chosen["real"], fake).item()
    assert torch.equal(metric.reference(40)["real"], chosen["real"])
    assert metric.settings(100, 40) == {"k": 5, "N": 40, "M": 40, "seed": 0}
    assert not torch.equal(chosen["real"], real[:40])


def test_too_few_reals_are_refused() -> None:
    with pytest.raises(ValueError, match="6 samples"):
        coverage(gaussian(5), gaussian(5))
    assert Coverage().why_not(5, 100)
    assert Coverage().why_not(100, 5)
    assert Coverage().why_not(6, 6) is None
