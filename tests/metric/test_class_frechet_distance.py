"""Frechet distance of each class: its expected value, its maximum and missing classes."""

import math

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.class_coverage import ClassCoverage
from saddlepoint.metric.class_frechet_distance import ClassFrechetDistance, sample_frechet_distance
from saddlepoint.metric.class_frequency import ClassFrequency
from saddlepoint.metric.frechet_distance import frechet_distance
from saddlepoint.metric.metric import Metric

K = 3


def gaussian(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def samples(n: int, d: int = 4, seed: int = 0, classes: int = K) -> Features:
    """n samples of classes in turn, which differ in mean and standard deviation."""
    y = torch.arange(n) % classes
    return Features(gaussian(n, d, seed) * (1 + y[:, None]) + y[:, None], 9 * torch.eye(classes)[y], y=y)


def update_with(metric: Metric, real: Features, fake: Features) -> Metric:
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric


@pytest.mark.parametrize(("n", "d"), [(40, 6), (10, 10), (5, 30), (2, 30), (7, 6)])
def test_the_distance_of_samples_is_that_of_their_covariances(n: int, d: int) -> None:
    real, fake = gaussian(n, d).double(), 2 * gaussian(n, d, 1).double() + 1
    by_covariance = frechet_distance(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov()).item()
    assert sample_frechet_distance(real, fake).item() == pytest.approx(by_covariance, rel=1e-9)
    assert sample_frechet_distance(fake, real).item() == pytest.approx(by_covariance, rel=1e-9)
    assert sample_frechet_distance(real, real).item() == pytest.approx(0, abs=1e-12)
    other = fake[: max(2, n // 2)]
    unequal = frechet_distance(real.mean(0), real.T.cov(), other.mean(0), other.T.cov()).item()
    assert sample_frechet_distance(real, other).item() == pytest.approx(unequal, rel=1e-9)


@pytest.mark.parametrize("d", [4, 100])
def test_shifting_one_class_adds_the_squared_length_to_its_score_only(d: int) -> None:
    metric = ClassFrechetDistance(least=5, labels="given")
    metric.update(samples(300, d), real=True)
    n = 20
    real = metric.reference(2 * n * K)["real"].double()
    assert real.shape == (K, n, d)
    delta = torch.linspace(0, 1, d, dtype=torch.float64)
    real[1] += delta
    # share=1.0: the fakes are exactly the chosen reals only if all of them are used
    metric = ClassFrechetDistance(least=5, labels="given", share=1.0, n_per_class=n)
    metric.update(samples(300, d), real=True)
    fake = Features(real.flatten(0, 1), y=torch.arange(K).repeat_interleave(n))
    metric.update(fake, real=False)
    table = metric.results()["mean"].detail["classes"]
    assert [row["value"] for row in table] == pytest.approx([0, delta.square().sum().item(), 0], abs=1e-9)
    worst = metric.results()["max"]
    assert float(worst.value) == pytest.approx(delta.square().sum().item())
    assert float(metric.results()["mean"].value) == pytest.approx(delta.square().sum().item() / K)
    assert worst.detail["class"] == 1


def test_the_score_of_a_class_is_that_of_its_samples_alone() -> None:
    real, fake = samples(600), samples(150, seed=1)
    metric = update_with(ClassFrechetDistance(least=5, share=1.0), real, fake)  # 50 of each class: all fakes are used
    table = metric.results()["mean"].detail["classes"]
    chosen = metric.reference(150)["real"]
    assert metric.results()["mean"].detail["n"] == 50
    for row in table:
        a, b = chosen[row["class"]].double(), fake.features[fake.y == row["class"]].double()
        expected = frechet_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov()).item()
        assert row["value"] == pytest.approx(expected, rel=1e-9)
        assert {tuple(x) for x in chosen[row["class"]].tolist()} <= {
            tuple(x) for x in real.features[real.y == row["class"]].tolist()
        }


def test_the_floor_is_the_mean_distance_of_reals_from_other_reals() -> None:
    """Its expectation is the distance of independent sets of n reals."""
    n, d = 20, 4
    metric = ClassFrechetDistance(least=5, n_per_class=n, draws=200)
    metric.update(samples(3000, d), real=True)
    null = metric.reference(1000)["null"]
    assert null.shape == (200, K)
    fresh = torch.stack([sample_frechet_distance(gaussian(n, d, i), gaussian(n, d, 5000 + i)) for i in range(300)])
    for number in range(K):  # class c has standard deviation 1 + c
        error = (null[:, number].std() / 200**0.5 + (1 + number) ** 2 * fresh.std() / 300**0.5).item()
        assert null[:, number].mean().item() == pytest.approx((1 + number) ** 2 * fresh.mean().item(), abs=4 * error)


def test_the_maximum_is_compared_with_maxima_and_the_mean_with_means() -> None:
    metric = update_with(ClassFrechetDistance(least=5), samples(300), samples(150, seed=1))
    null, results = metric.reference(150)["null"], metric.results()
    assert results["max"].detail["null"]["mean"] == pytest.approx(null.max(1).values.mean().item())
    assert results["mean"].detail["null"]["mean"] == pytest.approx(null.mean().item())
    assert [row["expected"] for row in results["mean"].detail["classes"]] == pytest.approx(null.mean(0).tolist())


def test_the_two_sides_of_a_null_draw_share_no_real() -> None:
    """If a class has only 2 n reals, each draw splits it into two halves."""
    metric = ClassFrechetDistance(least=5, labels="given", draws=3)
    pairs: list[tuple[Tensor, Tensor]] = []
    metric.statistic = lambda real, fake: pairs.append((real, fake)) or torch.tensor(0.0)  # pyright: ignore[reportAttributeAccessIssue]
    metric.update(samples(60), real=True)
    metric.reference(10_000)
    assert len(pairs) == 3 * K
    for real, fake in pairs:
        assert len(real) == len(fake) == 10
        assert len(torch.cat([real, fake]).unique(dim=0)) == 20
    assert not torch.equal(pairs[0][0], pairs[K][0])


def test_fakes_like_the_reals_seldom_have_a_small_p_and_shifted_ones_always_do() -> None:
    p, detected = [], []
    for repetition in range(200):
        real, fake = samples(240, 20, 2 * repetition), samples(90, 20, 2 * repetition + 1)
        metric = update_with(ClassFrechetDistance(least=5), real, fake)
        p.append(metric.results()["max"].detail["p"])
        if repetition < 20:
            fake.features[fake.y == 2] += 5  # pyright: ignore[reportOptionalSubscript]
            metric.reset()
            worst = update_with(metric, real, fake).results()["max"].detail
            detected.append(worst["class"] == 2 and worst["p"] < 0.05)
    p = torch.tensor(p)
    # the smallest p of 20 draws is 1 / 21; two standard errors of a rate of 5% are 3%
    assert (p <= 0.05).double().mean() <= 0.05 + 0.03
    assert p.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 200) ** 0.5)
    assert all(detected)


@pytest.mark.parametrize("n_left", [0, 24])
def test_with_a_missing_class_there_is_neither_mean_nor_maximum(n_left: int) -> None:
    """n is 25 per class; a class of 24 fakes is as undefined as one of none."""
    real, fake = samples(300), samples(150, seed=1)
    keep = (fake.y != 2).nonzero().flatten()
    remaining = (fake.y == 2).nonzero().flatten()[:n_left]
    fewer = fake.select(torch.cat([keep, remaining, keep[: 50 - n_left]]))  # still 150
    results = update_with(ClassFrechetDistance(), real, fewer).results()
    assert set(results) == {"missing"}
    assert float(results["missing"].value) == 1
    assert results["missing"].detail["classes"][2] == {"class": 2, "fakes": n_left}
    assert math.isfinite(results["missing"].detail["classes"][0]["value"])
    complete = update_with(ClassFrechetDistance(), real, fake).results()
    assert set(complete) == {"mean", "max", "missing"} == set(ClassFrechetDistance().directions())
    assert float(complete["missing"].value) == 0


def test_rare_classes_are_counted_and_not_measured() -> None:
    real, fake = samples(300), samples(150, seed=1)
    few = (real.y == 2).nonzero().flatten()[:10]
    real = real.select(torch.cat([(real.y != 2).nonzero().flatten(), few]))
    detail = update_with(ClassFrechetDistance(), real, fake).results()["mean"].detail
    assert [row["class"] for row in detail["classes"]] == [0, 1]
    assert detail["rare"] == {"classes": 1, "reals": 10}
    assert update_with(ClassFrechetDistance(), real.select(few), fake).compute() == {}  # no class can be measured


def test_more_fakes_of_one_class_do_not_change_the_others() -> None:
    """At fixed n all fakes of the others are used, so only the doubled class can change."""
    real, fake = samples(600), samples(150, seed=1)
    more = Features.concatenate([fake, fake.select((fake.y == 0).nonzero().flatten())])
    metrics = [ClassFrechetDistance(n_per_class=50, share=1.0) for _ in range(2)]
    one, two = (update_with(metric, real, x).results() for metric, x in zip(metrics, (fake, more), strict=True))
    rows = zip(one["mean"].detail["classes"], two["mean"].detail["classes"], strict=True)
    for number, (a, b) in enumerate(rows):
        assert b["fakes"] == (100 if number == 0 else 50)
        assert (b["value"] == pytest.approx(a["value"], rel=1e-9)) == (number != 0)
        assert b["expected"] == a["expected"]


@pytest.mark.parametrize("kind", [ClassFrechetDistance, ClassCoverage, ClassFrequency])
def test_renaming_classes_changes_no_score(kind: type[Metric]) -> None:
    permutation = torch.tensor([2, 0, 1])
    real, fake = samples(300), samples(160, seed=1)
    renamed = (features._replace(logits=9 * torch.eye(K)[permutation[features.y]]) for features in (real, fake))
    before, after = update_with(kind(), real, fake).results(), update_with(kind(), *renamed).results()
    assert set(before) == set(after)
    for suffix, result in before.items():
        assert float(after[suffix].value) == pytest.approx(float(result.value), rel=1e-12)
        if "class" in result.detail and kind is not ClassCoverage:  # coverage has ties, and names the first class
            assert after[suffix].detail["class"] == permutation[result.detail["class"]]


@pytest.mark.parametrize("kind", [ClassFrechetDistance, ClassCoverage])
def test_the_order_of_fakes_does_not_matter_if_all_are_used(kind: type[Metric]) -> None:
    real, fake = samples(600), samples(150, seed=1)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    one, two = (update_with(kind(share=1.0), real, features).results() for features in (fake, fake.select(order)))  # pyright: ignore[reportCallIssue]
    for suffix, result in one.items():
        assert float(two[suffix].value) == pytest.approx(float(result.value), rel=1e-9)


@pytest.mark.parametrize("kind", [ClassFrechetDistance, ClassCoverage, ClassFrequency])
def test_batches_a_reference_and_two_ranks_give_the_scores_of_one_process(kind: type[Metric]) -> None:
    real, fake = samples(300), samples(161, seed=1)
    expected = update_with(kind(), real, fake).results()

    in_batches = kind()
    for index in torch.arange(161).split(37):
        in_batches.update(fake.select(index), real=False)
    reference = kind()
    reference.update(real, real=True)
    in_batches.set_reference(reference.reference(161))

    ranks = [kind(), kind()]
    for rank, mine, reals in zip(ranks, torch.arange(161).split(90), torch.arange(300).split(170), strict=True):
        rank.update(fake.select(mine), real=False)
        rank.update(real.select(reals), real=True)
    others = iter([torch.cat(getattr(ranks[1], name)) for name in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False

    for metric in (in_batches, ranks[0]):
        results = metric.results()
        assert {suffix: float(result.value) for suffix, result in results.items()} == {
            suffix: float(result.value) for suffix, result in expected.items()
        }
        assert {suffix: result.detail for suffix, result in results.items()} == {
            suffix: result.detail for suffix, result in expected.items()
        }


def test_given_labels_replace_predicted_classes() -> None:
    real, fake = samples(300), samples(150, seed=1)
    without_logits = [features._replace(logits=None) for features in (real, fake)]
    with_labels, with_logits = ClassFrechetDistance(labels="given"), ClassFrechetDistance()
    assert (with_labels.needs_labels, with_labels.needs_logits) == (True, False)
    assert (with_logits.needs_labels, with_logits.needs_logits) == (False, True)
    by_labels, by_logits = update_with(with_labels, *without_logits), update_with(with_logits, real, fake)
    assert by_labels.results()["max"].value == by_logits.results()["max"].value
    with pytest.raises(ValueError, match="classes"):
        with_labels.update(real._replace(y=None), real=True)


def test_the_evaluator_returns_the_scores_with_their_contracts(stripes) -> None:
    from saddlepoint.evaluation.evaluator import Evaluator
    from saddlepoint.extractor.extractor import Extractor

    class Brightness(Extractor):
        name, sha256, dim, classes, shape = "brightness", "0", 2, 2, (1, 6, 6)

        def forward(self, x: Tensor) -> Features:
            mean = x.float().mean((1, 2, 3))
            features = torch.stack([mean, x.float().std((1, 2, 3))], 1)
            return Features(features, torch.stack([120 - mean, mean - 120], 1))

    metrics = {
        "class_fid": ClassFrechetDistance(least=6),
        "class_coverage": ClassCoverage(least=6),
        "class_frequency": ClassFrequency(least=6),
    }
    messages: list[str] = []
    evaluator = Evaluator(Brightness(), metrics, log=messages.append)
    scores = evaluator.score_split(stripes.split("test"), stripes)
    names = [
        *("class_fid_mean", "class_fid_max", "class_fid_missing", "class_coverage_mean", "class_coverage_min"),
        *("class_frequency", "class_frequency_gini", "class_frequency_worst"),
    ]
    assert list(scores) == [f"{name}_brightness_30_train" for name in names]
    assert set(evaluator.higher_is_better) == set(names)
    assert scores["class_frequency_brightness_30_train"].value == 0  # 15 and 15 fakes of the classes, 60 and 60 reals
    assert scores["class_fid_mean_brightness_30_train"].detail["n"] == 7
    assert messages == []
