"""The laws of the coverage of each class; what it shares with the distance is tested there."""

import math

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.class_coverage import ClassCoverage
from saddlepoint.metric.coverage import coverage

K = 3


def samples(n: int, d: int = 4, seed: int = 0) -> Features:
    y = torch.arange(n) % K
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return Features(x + 100 * y[:, None], 9 * torch.eye(K)[y], y=y)


def of(real: Features, fake: Features, metric: ClassCoverage) -> ClassCoverage:
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric


def test_a_class_is_covered_as_it_is_alone() -> None:
    real, fake = samples(600), samples(150, seed=1)
    fake.features[fake.y == 1] *= 0.3  # pyright: ignore[reportOptionalSubscript]
    metric = of(real, fake, ClassCoverage(share=1.0))
    chosen: Tensor = metric.reference(150)["real"]
    found = metric.results()
    values = [coverage(chosen[number], fake.features[fake.y == number], 5).item() for number in range(K)]
    assert [row["value"] for row in found["mean"].detail["classes"]] == values
    assert float(found["min"].value) == min(values)
    assert float(found["mean"].value) == pytest.approx(sum(values) / K)


def test_reals_reach_the_expected_coverage_of_reals_in_every_class() -> None:
    n, k = 30, 5
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    metric = ClassCoverage(k=k, n_per_class=n, draws=300)
    metric.update(samples(3000), real=True)
    null = metric.reference(1000)["null"]
    for column in null.T:
        # the draws share 1,000 reals of a class: their mean is a little surer of those than of the distribution
        assert column.mean().item() == pytest.approx(expected, abs=5 * (column.std() / 300**0.5).item() + 0.005)


@pytest.mark.parametrize("left", [0, 3])
def test_a_class_that_is_dropped_is_covered_by_what_is_left_of_it(left: int) -> None:
    real, fake = samples(300), samples(150, seed=1)
    keep = (fake.y != 2).nonzero().flatten()
    some = (fake.y == 2).nonzero().flatten()[:left]
    rest = fake.select(torch.cat([keep, some, keep[: 50 - left]]))
    metric = of(real, rest, ClassCoverage())
    found = metric.results()
    chosen = metric.reference(150)["real"][2]
    assert float(found["min"].value) == (coverage(chosen, fake.features[some], 5).item() if left else 0)
    assert found["min"].detail["class"] == 2
    assert found["min"].detail["p"] == pytest.approx(1 / 21)
    assert [row["fakes"] for row in found["mean"].detail["classes"]][2] == left


def test_fakes_of_the_reals_distribution_raise_few_alarms() -> None:
    p = [
        of(samples(240, 3, 2 * i), samples(90, 3, 2 * i + 1), ClassCoverage(k=3, least=5)).results()["min"].detail["p"]
        for i in range(60)
    ]
    assert (torch.tensor(p) <= 0.05).double().mean() <= 0.05 + 0.056  # two standard errors


def test_the_contract_says_k_and_how_n_follows() -> None:
    assert ClassCoverage(k=4).settings(100, 100) == {
        "k": 4,
        "n_per_class": None,
        "share": 0.5,
        "least": 20,
        "labels": "seen",
        "draws": 20,
        "seed": 0,
    }
