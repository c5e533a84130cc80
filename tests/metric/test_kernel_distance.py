"""The laws of the kernel distance: its definition, its expectation, its subsets."""

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric import kernel_distance as module
from saddlepoint.metric.kernel_distance import KernelDistance, kernel_distance, subset_distances


def drawn(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_definition(real: Tensor, fake: Tensor) -> float:
    """The three sums, one pair at a time."""

    def k(x: list[float], y: list[float]) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    xs, ys = real.double().tolist(), fake.double().tolist()
    n, m = len(xs), len(ys)
    among = sum(k(a, b) for i, a in enumerate(xs) for j, b in enumerate(xs) if i != j) / (n * (n - 1))
    among += sum(k(a, b) for i, a in enumerate(ys) for j, b in enumerate(ys) if i != j) / (m * (m - 1))
    return among - 2 * sum(k(a, b) for a in xs for b in ys) / (n * m)


def measured(real: Tensor, fake: Tensor, batch: int = 1000, **arguments: int | None) -> tuple[float, float | None]:
    metric = KernelDistance(**arguments)  # pyright: ignore[reportArgumentType]
    for part in real.split(batch):
        metric.update(Features(part), real=True)
    for part in fake.split(batch):
        metric.update(Features(part), real=False)
    result = metric.results()[""]
    return float(result.value), None if result.std is None else float(result.std)


@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 33), (2, 2)])
def test_the_distance_is_its_definition(n: int, m: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", rows)
    real, fake = drawn(n), 2 * drawn(m, seed=1) + 0.5
    assert kernel_distance(real, fake).item() == pytest.approx(by_definition(real, fake), rel=1e-12)


def test_the_expectation_is_zero_for_equal_distributions() -> None:
    found = torch.stack([kernel_distance(drawn(20, seed=i), drawn(30, seed=10_000 + i)) for i in range(400)])
    assert abs(found.mean()) < 4 * found.std() / 20
    assert (found < 0).sum() > 100  # unbiased, so not bound to be positive


def test_the_expectation_is_the_distance_of_the_first_three_moments() -> None:
    """In one dimension k(x, y) = 1 + 3xy + 3x^2y^2 + x^3y^3: the moments' differences, squared, weigh 3, 3 and 1."""
    shift, scale = 0.4, 1.3  # of fakes; the reals are N(0, 1)
    moments = (shift, shift**2 + scale**2 - 1, shift**3 + 3 * shift * scale**2)
    expected = sum(weight * moment**2 for weight, moment in zip((3, 3, 1), moments, strict=True))
    pairs = ((drawn(60, 1, i), scale * drawn(60, 1, 10_000 + i) + shift) for i in range(400))
    found = torch.stack([kernel_distance(real, fake) for real, fake in pairs])
    assert abs(found.mean() - expected) < 4 * found.std() / 20
    assert found.std() / 20 < 0.1 * expected


def test_float32_features_of_a_thousand_lose_no_digit() -> None:
    real, fake = (1000 * drawn(50) + 3000), (1000 * drawn(50, seed=1) + 3000)
    assert kernel_distance(real, fake).item() == pytest.approx(by_definition(real, fake), rel=1e-9)


def test_a_subset_of_all_is_the_full_subset_and_subsets_are_drawn_without_replacement() -> None:
    real, fake = drawn(40), drawn(40, seed=1) + 0.5
    full = kernel_distance(real, fake).item()
    assert subset_distances(real, fake, 40, 3).tolist() == pytest.approx([full] * 3, rel=1e-10)
    assert measured(real, fake, subset_size=None)[0] == pytest.approx(full, rel=1e-12)
    assert measured(real, fake, subset_size=None)[1] is None


def test_the_value_is_the_mean_over_subsets_and_the_std_theirs() -> None:
    real, fake = drawn(60), drawn(80, seed=1) + 0.5
    metric = KernelDistance(subsets=7, subset_size=20, seed=3)
    metric.update(Features(real), real=True)
    values = subset_distances(metric.reference(80)["real"], fake, 20, 7, seed=3).tolist()
    assert len(set(values)) == 7
    mean = sum(values) / 7
    std = (sum((value - mean) ** 2 for value in values) / 7) ** 0.5
    assert measured(real, fake, subsets=7, subset_size=20, seed=3) == pytest.approx((mean, std), rel=1e-12)
    assert measured(real, fake, subsets=7, subset_size=20, seed=4)[0] != pytest.approx(mean, rel=1e-3)


def test_the_mean_over_subsets_nears_the_full_subset() -> None:
    real, fake = drawn(100), drawn(100, seed=1) + 1
    found = subset_distances(real, fake, 20, 400)
    assert abs(found.mean() - kernel_distance(real, fake)) < 4 * found.std() / 20


def test_neither_order_nor_batches_matter_to_a_full_subset_and_nothing_is_drawn_from_torch() -> None:
    real, fake = drawn(60), drawn(60, seed=1) + 0.5
    before = torch.random.get_rng_state()
    value, _ = measured(real, fake, subset_size=None)
    assert measured(real, fake, batch=7, subset_size=None)[0] == value
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    assert measured(real[order], fake[order.flip(0)], subset_size=None)[0] == pytest.approx(value, rel=1e-12)
    assert measured(real, fake, batch=7, subset_size=20) == measured(real, fake, subset_size=20)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("size", [None, 20])
def test_two_ranks_give_what_one_process_gives(size: int | None) -> None:
    real, fake = drawn(90), drawn(70, seed=1) + 0.5
    ranks = [KernelDistance(5, size), KernelDistance(5, size)]
    reference = KernelDistance(5, size)
    reference.update(Features(real), real=True)
    for rank, part in zip(ranks, fake.tensor_split(2), strict=True):
        rank.set_reference(reference.reference(70))
        rank.update(Features(part), real=False)
    others = iter([torch.cat(list(ranks[1].fake))])  # pyright: ignore[reportArgumentType]
    ranks[0].sync(
        dist_sync_fn=lambda mine, group: [mine, next(others)] if len(mine) else [mine],
        distributed_available=lambda: True,
    )
    ranks[0]._to_sync = False
    assert float(ranks[0].results()[""].value) == measured(real, fake, subsets=5, subset_size=size)[0]


def test_fewer_samples_than_a_subset_are_an_obstacle_with_its_remedy() -> None:
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
        kernel_distance(drawn(1), drawn(5))
