"""Class frequencies: closed forms for dropped classes, and the null distribution."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.class_frequency import ClassFrequency, class_frequency


def samples(count: Tensor, classes: int | None = None) -> Features:
    y = torch.arange(len(count)).repeat_interleave(count)
    return Features(torch.zeros(len(y), 1), torch.eye(classes or len(count))[y])


def update_with(real: Tensor, fake: Tensor, **settings) -> ClassFrequency:
    metric = ClassFrequency(**settings)
    metric.update(samples(real), real=True)
    metric.update(samples(fake), real=False)
    return metric


@pytest.mark.parametrize("k", [2, 5, 10])
@pytest.mark.parametrize("dropped", [0, 1, 3])
def test_dropping_m_of_k_equal_classes_scores_m_over_k(k: int, dropped: int) -> None:
    """Gini and total variation are both m / K, whatever the numbers of samples."""
    if dropped >= k:
        pytest.skip("a model generates some class")
    fake = torch.tensor([0] * dropped + [60] * (k - dropped))
    results = class_frequency(torch.full((k,), 100), fake, torch.arange(k))
    assert results.total_variation.item() == pytest.approx(dropped / k, abs=1e-12)
    assert results.gini.item() == pytest.approx(dropped / k, abs=1e-12)
    assert results.worst.item() == pytest.approx(0 if dropped else 1, abs=1e-12)


def test_the_scores_match_their_definitions() -> None:
    real, fake = torch.tensor([10, 40, 25, 25]), torch.tensor([90, 20, 300, 190])
    p, q = [n / 100 for n in real.tolist()], [n / 600 for n in fake.tolist()]
    r = [b / a for a, b in zip(p, q, strict=True)]
    gini = sum(abs(a - b) for a, b in itertools.product(r, r)) / (2 * len(r) * sum(r))
    results = class_frequency(real, fake, torch.arange(4))
    assert results.total_variation.item() == pytest.approx(sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2)
    assert results.gini.item() == pytest.approx(gini, rel=1e-12)
    assert results.worst.item() == pytest.approx(min(r), rel=1e-12)
    batched = class_frequency(real.repeat(3, 1), fake.repeat(3, 1), torch.arange(4))
    assert batched.gini.tolist() == pytest.approx([gini] * 3)


def test_only_gini_weighs_a_dropped_rare_class_like_a_frequent_one() -> None:
    real = torch.tensor([1000, 1000, 1000, 30])
    rare, frequent = (class_frequency(real, real * torch.tensor(keep), torch.arange(4)) for keep in
                      ([1, 1, 1, 0], [1, 1, 0, 1]))  # fmt: skip
    assert rare.total_variation.item() == pytest.approx(30 / 3030)
    assert frequent.total_variation.item() == pytest.approx(1000 / 3030)
    assert rare.gini.item() == pytest.approx(frequent.gini.item()) == pytest.approx(1 / 4)


def test_a_dropped_class_is_named_and_has_the_smallest_p() -> None:
    results = update_with(torch.full((10,), 500), torch.tensor([0] + [100] * 9)).results()
    assert float(results["worst"].value) == 0
    assert results["worst"].detail["class"] == 0
    for suffix in ("", "gini", "worst"):
        assert results[suffix].detail["p"] == pytest.approx(1 / 201)
    table = results[""].detail["classes"]
    assert table[0] == {"class": 0, "real": 0.1, "fake": 0, "ratio": 0}
    assert table[1] == pytest.approx({"class": 1, "real": 0.1, "fake": 1 / 9, "ratio": 10 / 9})
    assert results[""].detail["rare"] == {"classes": 0, "real": 0, "fake": 0}


def test_fakes_with_the_frequencies_of_the_reals_have_uniform_p_and_a_known_total_variation() -> None:
    p = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    n, draws = 300, torch.Generator().manual_seed(0)
    results = {"": [], "gini": [], "worst": []}
    for _ in range(200):
        real, fake = (p.multinomial(n, True, generator=draws).bincount(minlength=4) for _ in range(2))
        for suffix, result in update_with(real, fake, draws=99).results().items():
            results[suffix].append(result.detail["p"])
    for values in results.values():
        assert sum(values) / 200 == pytest.approx(0.5, abs=4 * (1 / 12 / 200) ** 0.5)
        assert sum(value <= 0.05 for value in values) / 200 <= 0.05 + 0.03
    # E|q - p| of a difference of two near-normal frequencies is sqrt(2 / pi) times its standard deviation
    expected = sum(math.sqrt(2 / math.pi * 2 * a * (1 - a) / n) for a in p.tolist()) / 2
    null = update_with((p * n).to(torch.int64), (p * n).to(torch.int64), draws=2000).results()[""].detail["null"]
    assert null["mean"] == pytest.approx(expected, rel=0.05)


def test_ratios_are_taken_of_frequent_classes_only() -> None:
    """Three of the extractor's 1,008 classes have reals, and one of these has only ten."""
    real, fake = torch.zeros(1008, dtype=torch.int64), torch.zeros(1008, dtype=torch.int64)
    real[[3, 7, 9]] = torch.tensor([495, 495, 10])
    fake[[3, 7, 11]] = torch.tensor([400, 500, 100])
    results = update_with(real, fake).results()
    assert [row["class"] for row in results[""].detail["classes"]] == [3, 7]
    assert results[""].detail["rare"] == pytest.approx({"classes": 2, "real": 0.01, "fake": 0.1})
    assert float(results["worst"].value) == pytest.approx(0.4 / 0.495)
    assert float(results[""].value) == pytest.approx(0.105)  # the total variation is of all classes
    assert set(update_with(real, fake, least=600).results()) == {""}


def test_fakes_in_uncounted_classes_alone_have_the_worst_scores() -> None:
    results = class_frequency(torch.tensor([50, 50, 0]), torch.tensor([0, 0, 100]), torch.tensor([0, 1]))
    assert results.total_variation.item() == 1
    assert results.worst.item() == 0


def test_counts_add_up_over_batches_of_any_size() -> None:
    real, fake = torch.tensor([100, 50, 80]), torch.tensor([70, 60, 90])
    metric = ClassFrequency()
    metric.update(samples(real), real=True)
    features = samples(fake).select(torch.randperm(220, generator=torch.Generator().manual_seed(0)))
    for index in torch.arange(220).split(33):
        metric.update(features.select(index), real=False)
    expected = update_with(real, fake).results()
    for suffix, result in metric.results().items():
        assert float(result.value) == float(expected[suffix].value)
