"""Precision and recall: properties, and comparison with their definitions written as loops."""

import math

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.precision import Precision, precision
from saddlepoint.metric.recall import Recall, recall


def gaussian(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def points_on_line(*x: float) -> Tensor:
    return torch.tensor(x).unsqueeze(1)


def by_definition(real: Tensor, fake: Tensor, k: int) -> float:
    """Kynkaanniemi et al.'s precision, one pair at a time."""
    reals, hits = real.double().tolist(), 0
    radii = [sorted(math.dist(x, y) for j, y in enumerate(reals) if j != i)[k - 1] for i, x in enumerate(reals)]
    for y in fake.double().tolist():
        hits += any(math.dist(x, y) <= r for x, r in zip(reals, radii, strict=True))
    return hits / len(fake)


def test_points_on_a_line_are_counted_by_hand() -> None:
    real, fake = (
        points_on_line(0, 1, 3),
        points_on_line(-1, -1.01, 2, 5, 5.01),
    )  # with k = 1 the balls are [-1, 1], [0, 2] and [1, 5]
    assert precision(real, fake, k=1).item() == pytest.approx(3 / 5)
    # the balls of the fakes are [-1.02, -0.98], [-1.02, -1], [-1, 5] (to 5, at distance 3), [4.99, 5.01] and [5, 5.02]
    assert recall(real, fake, k=1).item() == 1
    assert recall(points_on_line(-0.5, 5.015, 6, -1.03), fake, k=1).item() == pytest.approx(2 / 4)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_precision_and_recall_match_their_definitions(k: int, shift: float) -> None:
    real, fake = gaussian(60), gaussian(45, seed=1) * 1.3 + shift
    assert precision(real, fake, k).item() == pytest.approx(by_definition(real, fake, k), abs=1e-12)
    assert recall(real, fake, k).item() == pytest.approx(by_definition(fake, real, k), abs=1e-12)


@pytest.mark.parametrize("score", [precision, recall])
def test_a_set_scores_one_with_itself_and_zero_with_a_distant_one(score) -> None:
    x = gaussian(50)
    assert score(x, x).item() == 1
    assert score(x.repeat(5, 1), x.repeat(5, 1)).item() == 1  # balls that are points
    assert score(x, x + 1000).item() == 0


def test_recall_detects_a_dropped_mode_and_precision_does_not() -> None:
    near, far = gaussian(200), gaussian(200, seed=1) + 1000
    two_modes = torch.cat([near, far])
    fake = gaussian(400, seed=2)
    assert precision(two_modes, fake).item() > 0.8
    assert 0.4 < recall(two_modes, fake).item() <= 0.5
    assert precision(near, torch.cat([near, far])).item() == 0.5
    assert recall(near, torch.cat([near, far])).item() == 1


def test_precision_uses_all_fakes_and_recall_as_many_as_reals() -> None:
    real, fake = gaussian(40), gaussian(100, seed=1) + 1
    metrics = Precision(), Recall()
    for metric in metrics:
        metric.update(Features(real), real=True)
        metric.update(Features(fake), real=False)
    assert metrics[0].compute().item() == precision(real, fake).item()
    few = metrics[1].draw_fixed(fake, 40)
    assert metrics[1].compute().item() == recall(real, few).item() != recall(real, fake).item()
    assert Precision().settings(40, 100) == {"k": 3, "N": 40, "M": 100, "seed": 0}
    assert Recall().settings(40, 100) == {"k": 3, "N": 40, "M": 40, "seed": 0}


def test_the_number_of_fakes_does_not_change_the_expected_precision() -> None:
    """Precision is a mean over fakes, so its expectation is the same for 30 and for 300."""
    few, many = [], []
    for i in range(150):
        real = gaussian(60, 2, seed=i)
        fake = gaussian(300, 2, seed=10_000 + i) * 1.5
        few.append(precision(real, fake[:30]))
        many.append(precision(real, fake))
    differences = torch.stack(few) - torch.stack(many)
    assert abs(differences.mean()) < 4 * differences.std() / 150**0.5
    assert 0.1 < torch.stack(many).mean() < 0.9
