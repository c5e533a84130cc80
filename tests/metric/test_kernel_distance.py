"""Kernel distance: its definition, expectation and subsets."""

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric import kernel_distance as module
from saddlepoint.metric.kernel_distance import KernelDistance, kernel_distance, subset_distances


def gaussian(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_definition(real: Tensor, fake: Tensor) -> float:
    """The three sums, one pair at a time."""

    def k(x: list[float], y: list[float]) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    xs, ys = real.double().tolist(), fake.double().tolist()
    n, m = len(xs), len(ys)
    within = sum(k(a, b) for i, a in enumerate(xs) for j, b in enumerate(xs) if i != j) / (n * (n - 1))
    within += sum(k(a, b) for i, a in enumerate(ys) for j, b in enumerate(ys) if i != j) / (m * (m - 1))
    return within - 2 * sum(k(a, b) for a in xs for b in ys) / (n * m)


def compute(real: Tensor, fake: Tensor, batch: int = 1000, **arguments: int | None) -> tuple[float, float | None]:
    metric = KernelDistance(**arguments)  # pyright: ignore[reportArgumentType]
    for chunk in real.split(batch):
        metric.update(Features(chunk), real=True)
    for chunk in fake.split(batch):
        metric.update(Features(chunk), real=False)
    result = metric.results()[""]
    return float(result.value), None if result.std is None else float(result.std)


@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 33), (2, 2)])
def test_the_distance_matches_its_definition(n: int, m: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", rows)
    real, fake = gaussian(n), 2 * gaussian(m, seed=1) + 0.5
    assert kernel_distance(real, fake).item() == pytest.approx(by_definition(real, fake), rel=1e-12)


def test_the_expectation_is_zero_for_equal_distributions() -> None:
    values = torch.stack([kernel_distance(gaussian(20, seed=i), gaussian(30, seed=10_000 + i)) for i in range(400)])
    assert abs(values.mean()) < 4 * values.std() / 20
    assert (values < 0).sum() > 100  # unbiased, so it can be negative


def test_the_expectation_is_the_distance_of_the_first_three_moments() -> None:
    """In one dimension k(x, y) = 1 + 3xy + 3x^2y^2 + x^3y^3: squared differences of moments have weights 3, 3 and 1."""
    shift, scale = 0.4, 1.3  # of the fakes; the reals are N(0, 1)
    moments = (shift, shift**2 + scale**2 - 1, shift**3 + 3 * shift * scale**2)
    expected = sum(weight * moment**2 for weight, moment in zip((3, 3, 1), moments, strict=True))
    pairs = ((gaussian(60, 1, i), scale * gaussian(60, 1, 10_000 + i) + shift) for i in range(400))
    values = torch.stack([kernel_distance(real, fake) for real, fake in pairs])
    assert abs(values.mean() - expected) < 4 * values.std() / 20
    assert values.std() / 20 < 0.1 * expected


def test_large_float32_features_lose_no_digits() -> None:
    real, fake = (1000 * gaussian(50) + 3000), (1000 * gaussian(50, seed=1) + 3000)
    assert kernel_distance(real, fake).item() == pytest.approx(by_definition(real, fake), rel=1e-9)


def test_a_subset_of_all_is_the_full_subset_and_subsets_are_drawn_without_replacement() -> None:
    real, fake = gaussian(40), gaussian(40, seed=1) + 0.5
    full = kernel_distance(real, fake).item()
    assert subset_distances(real, fake, 40, 3).tolist() == pytest.approx([full] * 3, rel=1e-10)
    assert compute(real, fake, subset_size=None)[0] == pytest.approx(full, rel=1e-12)
    assert compute(real, fake, subset_size=None)[1] is None


def test_value_and_std_are_mean_and_deviation_over_subsets() -> None:
    real, fake = gaussian(60), gaussian(80, seed=1) + 0.5
    metric = KernelDistance(subsets=7, subset_size=20, seed=3)
    metric.update(Features(real), real=True)
    values = subset_distances(metric.reference(80)["real"], fake, 20, 7, seed=3).tolist()
    assert len(set(values)) == 7
    mean = sum(values) / 7
    std = (sum((value - mean) ** 2 for value in values) / 7) ** 0.5
    assert compute(real, fake, subsets=7, subset_size=20, seed=3) == pytest.approx((mean, std), rel=1e-12)
    assert compute(real, fake, subsets=7, subset_size=20, seed=4)[0] != pytest.approx(mean, rel=1e-3)


def test_the_mean_over_subsets_approaches_the_full_subset() -> None:
    real, fake = gaussian(100), gaussian(100, seed=1) + 1
    values = subset_distances(real, fake, 20, 400)
    assert abs(values.mean() - kernel_distance(real, fake)) < 4 * values.std() / 20


def test_neither_order_nor_batches_change_a_full_subset_and_torch_draws_nothing() -> None:
    real, fake = gaussian(60), gaussian(60, seed=1) + 0.5
    before = torch.random.get_rng_state()
    value, _ = compute(real, fake, subset_size=None)
    assert compute(real, fake, batch=7, subset_size=None)[0] == value
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    assert compute(real[order], fake[order.flip(0)], subset_size=None)[0] == pytest.approx(value, rel=1e-12)
    assert compute(real, fake, batch=7, subset_size=20) == compute(real, fake, subset_size=20)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("size", [None, 20])
def test_two_ranks_give_the_result_of_one_process(size: int | None) -> None:
    real, fake = gaussian(90), gaussian(70, seed=1) + 0.5
    ranks = [KernelDistance(5, size), KernelDistance(5, size)]
    reference = KernelDistance(5, size)
    reference.update(Features(real), real=True)
    for rank, chunk in zip(ranks, fake.tensor_split(2), strict=True):
        rank.set_reference(reference.reference(70))
        rank.update(Features(chunk), real=False)
    others = iter([torch.cat(list(ranks[1].fake))])  # pyright: ignore[reportArgumentType]
    ranks[0].sync(
        dist_sync_fn=lambda mine, group: [mine, next(others)] if len(mine) else [mine],
        distributed_available=lambda: True,
    )
    ranks[0]._to_sync = False
    assert float(ranks[0].results()[""].value) == compute(real, fake, subsets=5, subset_size=size)[0]


def test_fewer_samples_than_a_subset_are_reported_with_a_remedy() -> None:
    metric = KernelDistance()
    assert metric.settings(60_000, 5000) == {
        "N": 5000,
        "M": 5000,
        "subsets": 100,
        "subset_size": 1000,
        "seed": 0,
    }
    assert KernelDistance(subset_size=None).settings(900, 5000) == {
        "N": 900,
        "M": 5000,
        "subsets": 1,
        "subset_size": "all",
        "seed": 0,
    }
    assert metric.why_not(1000, 1000) is None
    for few in ((999, 5000), (5000, 999)):
        assert "there are 999 (metric.kid.subset_size=null" in str(metric.why_not(*few))
    assert KernelDistance(subset_size=None).why_not(2, 2) is None
    assert KernelDistance(subset_size=None).why_not(2, 1)
    with pytest.raises(ValueError, match="has 1 and 5"):
        kernel_distance(gaussian(1), gaussian(5))
