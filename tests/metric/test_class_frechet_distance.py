"""The laws of the Frechet distance of each class, its floor, its maximum and the classes that it misses."""

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


def drawn(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def samples(n: int, d: int = 4, seed: int = 0, classes: int = K) -> Features:
    """n samples, each class in turn; of classes that differ in place and in spread."""
    y = torch.arange(n) % classes
    return Features(drawn(n, d, seed) * (1 + y[:, None]) + y[:, None], 9 * torch.eye(classes)[y], y=y)


def met(metric: Metric, real: Features, fake: Features) -> Metric:
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric


@pytest.mark.parametrize(("n", "d"), [(40, 6), (10, 10), (5, 30), (2, 30), (7, 6)])
def test_the_distance_of_samples_is_that_of_their_covariances(n: int, d: int) -> None:
    real, fake = drawn(n, d).double(), 2 * drawn(n, d, 1).double() + 1
    by_covariance = frechet_distance(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov()).item()
    assert sample_frechet_distance(real, fake).item() == pytest.approx(by_covariance, rel=1e-9)
    assert sample_frechet_distance(fake, real).item() == pytest.approx(by_covariance, rel=1e-9)
    assert sample_frechet_distance(real, real).item() == pytest.approx(0, abs=1e-12)
    other = fake[: max(2, n // 2)]
    unequal = frechet_distance(real.mean(0), real.T.cov(), other.mean(0), other.T.cov()).item()
    assert sample_frechet_distance(real, other).item() == pytest.approx(unequal, rel=1e-9)


@pytest.mark.parametrize("d", [4, 100])
def test_a_shift_of_one_class_is_its_squared_length_and_leaves_the_others(d: int) -> None:
    metric = ClassFrechetDistance(least=5, labels="given")
    metric.update(samples(300, d), real=True)
    n = 20
    real = metric.reference(2 * n * K)["real"].double()
    assert real.shape == (K, n, d)
    delta = torch.linspace(0, 1, d, dtype=torch.float64)
    real[1] += delta
    # twice each: the fakes drawn are the reals drawn, only where all of them are drawn
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


def test_a_class_scores_what_it_scores_alone() -> None:
    real, fake = samples(600), samples(150, seed=1)
    metric = met(ClassFrechetDistance(least=5, share=1.0), real, fake)  # 50 of each class: all fakes are drawn
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
    """In expectation that of independent sets of n, here drawn anew each time."""
    n, d = 20, 4
    metric = ClassFrechetDistance(least=5, n_per_class=n, draws=200)
    metric.update(samples(3000, d), real=True)
    null = metric.reference(1000)["null"]
    assert null.shape == (200, K)
    fresh = torch.stack([sample_frechet_distance(drawn(n, d, i), drawn(n, d, 5000 + i)) for i in range(300)])
    for number in range(K):  # a class of spread 1 + c
        error = (null[:, number].std() / 200**0.5 + (1 + number) ** 2 * fresh.std() / 300**0.5).item()
        assert null[:, number].mean().item() == pytest.approx((1 + number) ** 2 * fresh.mean().item(), abs=4 * error)


def test_the_maximum_is_read_against_maxima_and_the_mean_against_means() -> None:
    metric = met(ClassFrechetDistance(least=5), samples(300), samples(150, seed=1))
    null, found = metric.reference(150)["null"], metric.results()
    assert found["max"].detail["null"]["mean"] == pytest.approx(null.max(1).values.mean().item())
    assert found["mean"].detail["null"]["mean"] == pytest.approx(null.mean().item())
    assert [row["floor"] for row in found["mean"].detail["classes"]] == pytest.approx(null.mean(0).tolist())


def test_the_two_sides_of_a_null_draw_share_no_real() -> None:
    """Where 2 n is all of a class, two halves of it lie opposite each other about its mean."""
    metric = ClassFrechetDistance(least=5, labels="given", draws=3)
    seen: list[tuple[Tensor, Tensor]] = []
    metric.statistic = lambda real, fake: seen.append((real, fake)) or torch.tensor(0.0)  # pyright: ignore[reportAttributeAccessIssue]
    metric.update(samples(60), real=True)
    metric.reference(10_000)
    assert len(seen) == 3 * K
    for real, fake in seen:
        assert len(real) == len(fake) == 10
        assert len(torch.cat([real, fake]).unique(dim=0)) == 20
    assert not torch.equal(seen[0][0], seen[K][0])


def test_fakes_of_the_reals_distribution_raise_few_alarms_and_others_are_found() -> None:
    p, found = [], []
    for repetition in range(200):
        real, fake = samples(240, 20, 2 * repetition), samples(90, 20, 2 * repetition + 1)
        metric = met(ClassFrechetDistance(least=5), real, fake)
        p.append(metric.results()["max"].detail["p"])
        if repetition < 20:
            fake.features[fake.y == 2] += 5  # pyright: ignore[reportOptionalSubscript]
            metric.reset()
            worst = met(metric, real, fake).results()["max"].detail
            found.append(worst["class"] == 2 and worst["p"] < 0.05)
    p = torch.tensor(p)
    # the smallest p of 20 draws is 1 / 21; two standard errors of a rate of 5% are 3%
    assert (p <= 0.05).double().mean() <= 0.05 + 0.03
    assert p.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 200) ** 0.5)
    assert all(found)


@pytest.mark.parametrize("left", [0, 24])
def test_a_class_that_is_gone_leaves_no_maximum_to_be_better_for_it(left: int) -> None:
    """n is 25 of each; a class of 24 is as undefined as one of none."""
    real, fake = samples(300), samples(150, seed=1)
    keep = (fake.y != 2).nonzero().flatten()
    gone = (fake.y == 2).nonzero().flatten()[:left]
    rest = fake.select(torch.cat([keep, gone, keep[: 50 - left]]))  # still 150
    found = met(ClassFrechetDistance(), real, rest).results()
    assert set(found) == {"missing"}
    assert float(found["missing"].value) == 1
    assert found["missing"].detail["classes"][2] == {"class": 2, "fakes": left}
    assert math.isfinite(found["missing"].detail["classes"][0]["value"])
    whole = met(ClassFrechetDistance(), real, fake).results()
    assert set(whole) == {"mean", "max", "missing"} == set(ClassFrechetDistance().directions())
    assert float(whole["missing"].value) == 0


def test_rare_classes_are_told_and_not_measured() -> None:
    real, fake = samples(300), samples(150, seed=1)
    few = (real.y == 2).nonzero().flatten()[:10]
    real = real.select(torch.cat([(real.y != 2).nonzero().flatten(), few]))
    detail = met(ClassFrechetDistance(), real, fake).results()["mean"].detail
    assert [row["class"] for row in detail["classes"]] == [0, 1]
    assert detail["rare"] == {"classes": 1, "reals": 10}
    assert met(ClassFrechetDistance(), real.select(few), fake).compute() == {}  # nothing is said where nothing can be


def test_more_fakes_of_one_class_leave_the_others_as_they_were() -> None:
    """At a given n: all fakes of the others are drawn, so only the rows of the doubled class can change."""
    real, fake = samples(600), samples(150, seed=1)
    more = Features.concatenate([fake, fake.select((fake.y == 0).nonzero().flatten())])
    one, two = (met(ClassFrechetDistance(n_per_class=50, share=1.0), real, some).results() for some in (fake, more))
    rows = zip(one["mean"].detail["classes"], two["mean"].detail["classes"], strict=True)
    for number, (a, b) in enumerate(rows):
        assert b["fakes"] == (100 if number == 0 else 50)
        assert (b["value"] == pytest.approx(a["value"], rel=1e-9)) == (number != 0)
        assert b["floor"] == a["floor"]


@pytest.mark.parametrize("kind", [ClassFrechetDistance, ClassCoverage, ClassFrequency])
def test_new_names_of_the_classes_change_no_score(kind: type[Metric]) -> None:
    names = torch.tensor([2, 0, 1])
    real, fake = samples(300), samples(160, seed=1)
    renamed = (part._replace(logits=9 * torch.eye(K)[names[part.y]]) for part in (real, fake))
    before, after = met(kind(), real, fake).results(), met(kind(), *renamed).results()
    assert set(before) == set(after)
    for suffix, result in before.items():
        assert float(after[suffix].value) == pytest.approx(float(result.value), rel=1e-12)
        if "class" in result.detail and kind is not ClassCoverage:  # of two classes at the minimum it names the first
            assert after[suffix].detail["class"] == names[result.detail["class"]]


@pytest.mark.parametrize("kind", [ClassFrechetDistance, ClassCoverage])
def test_the_order_of_fakes_changes_nothing_where_all_are_drawn(kind: type[Metric]) -> None:
    real, fake = samples(600), samples(150, seed=1)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    one, two = (met(kind(share=1.0), real, some).results() for some in (fake, fake.select(order)))  # pyright: ignore[reportCallIssue]
    for suffix, result in one.items():
        assert float(two[suffix].value) == pytest.approx(float(result.value), rel=1e-9)


@pytest.mark.parametrize("kind", [ClassFrechetDistance, ClassCoverage, ClassFrequency])
def test_batches_a_reference_and_two_ranks_give_the_scores_of_one_process(kind: type[Metric]) -> None:
    real, fake = samples(300), samples(161, seed=1)
    whole = met(kind(), real, fake).results()

    parts = kind()
    for index in torch.arange(161).split(37):
        parts.update(fake.select(index), real=False)
    reference = kind()
    reference.update(real, real=True)
    parts.set_reference(reference.reference(161))

    ranks = [kind(), kind()]
    for rank, mine, reals in zip(ranks, torch.arange(161).split(90), torch.arange(300).split(170), strict=True):
        rank.update(fake.select(mine), real=False)
        rank.update(real.select(reals), real=True)
    others = iter([torch.cat(getattr(ranks[1], name)) for name in ranks[1]._reductions])
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False

    for metric in (parts, ranks[0]):
        found = metric.results()
        assert {suffix: float(result.value) for suffix, result in found.items()} == {
            suffix: float(result.value) for suffix, result in whole.items()
        }
        assert {suffix: result.detail for suffix, result in found.items()} == {
            suffix: result.detail for suffix, result in whole.items()
        }


def test_given_labels_are_those_asked_for_whatever_is_seen() -> None:
    real, fake = samples(300), samples(150, seed=1)
    blind = [part._replace(logits=None) for part in (real, fake)]
    given, by_eye = ClassFrechetDistance(labels="given"), ClassFrechetDistance()
    assert (given.needs_labels, given.needs_logits) == (True, False)
    assert (by_eye.needs_labels, by_eye.needs_logits) == (False, True)
    assert met(given, *blind).results()["max"].value == met(by_eye, real, fake).results()["max"].value
    with pytest.raises(ValueError, match="classes"):
        given.update(real._replace(y=None), real=True)


def test_the_evaluator_gives_the_scores_beside_their_contracts(stripes) -> None:
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
    said: list[str] = []
    evaluator = Evaluator(Brightness(), metrics, log=said.append)
    scores = evaluator.score_split(stripes.split("test"), stripes)
    names = [
        *("class_fid_mean", "class_fid_max", "class_fid_missing", "class_coverage_mean", "class_coverage_min"),
        *("class_frequency", "class_frequency_gini", "class_frequency_worst"),
    ]
    assert list(scores) == [f"{name}_brightness_30_train" for name in names]
    assert set(evaluator.higher_is_better) == set(names)
    assert scores["class_frequency_brightness_30_train"].value == 0  # 15 and 15 of each, and 60 and 60
    assert scores["class_fid_mean_brightness_30_train"].detail["n"] == 7
    assert said == []
