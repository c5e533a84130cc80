"""Coverage of each class.  test_class_frechet_distance.py tests what both metrics share."""

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


def update_with(real: Features, fake: Features, metric: ClassCoverage) -> ClassCoverage:
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric


def test_the_coverage_of_a_class_is_that_of_its_samples_alone() -> None:
    real, fake = samples(600), samples(150, seed=1)
    fake.features[fake.y == 1] *= 0.3  # pyright: ignore[reportOptionalSubscript]
    metric = update_with(real, fake, ClassCoverage(share=1.0))
    chosen: Tensor = metric.reference(150)["real"]
    results = metric.results()
    values = [coverage(chosen[number], fake.features[fake.y == number], 5).item() for number in range(K)]
    assert [row["value"] for row in results["mean"].detail["classes"]] == values
    assert float(results["min"].value) == min(values)
    assert float(results["mean"].value) == pytest.approx(sum(values) / K)


def test_reals_reach_the_expected_coverage_of_reals_in_every_class() -> None:
    n, k = 30, 5
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    metric = ClassCoverage(k=k, n_per_class=n, draws=300)
    metric.update(samples(3000), real=True)
    null = metric.reference(1000)["null"]
    for column in null.T:
        # draws share the 1,000 reals of a class, so their mean is that of these reals: another 0.005 of tolerance
        assert column.mean().item() == pytest.approx(expected, abs=5 * (column.std() / 300**0.5).item() + 0.005)


@pytest.mark.parametrize("n_left", [0, 3])
def test_a_class_with_few_fakes_is_covered_only_by_those(n_left: int) -> None:
    real, fake = samples(300), samples(150, seed=1)
    keep = (fake.y != 2).nonzero().flatten()
    remaining = (fake.y == 2).nonzero().flatten()[:n_left]
    fewer = fake.select(torch.cat([keep, remaining, keep[: 50 - n_left]]))
    metric = update_with(real, fewer, ClassCoverage())
    results = metric.results()
    chosen = metric.reference(150)["real"][2]
    assert float(results["min"].value) == (coverage(chosen, fake.features[remaining], 5).item() if n_left else 0)
    assert results["min"].detail["class"] == 2
    assert results["min"].detail["p"] == pytest.approx(1 / 21)
    assert [row["fakes"] for row in results["mean"].detail["classes"]][2] == n_left


def test_fakes_like_the_reals_seldom_have_a_small_p() -> None:
    p = []
    for i in range(60):
        metric = update_with(samples(240, 3, 2 * i), samples(90, 3, 2 * i + 1), ClassCoverage(k=3, least=5))
        p.append(metric.results()["min"].detail["p"])
    assert (torch.tensor(p) <= 0.05).double().mean() <= 0.05 + 0.056  # two standard errors


def test_the_contract_records_k_and_the_settings_of_n() -> None:
    assert ClassCoverage(k=4).settings(100, 100) == {
        "k": 4,
        "n_per_class": None,
        "share": 0.5,
        "least": 20,
        "labels": "seen",
        "draws": 20,
        "seed": 0,
    }
