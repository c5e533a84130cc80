"""Inception score: closed forms, and comparison with torch-fidelity."""

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.inception_score import InceptionScore, inception_score


def random_logits(n: int, k: int = 6, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


def test_equal_predictions_score_one() -> None:
    mean, std = inception_score(torch.randn(7).expand(100, 7))
    assert mean.item() == pytest.approx(1, abs=1e-12)
    assert std.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("certain", [1e4, float("inf")])
@pytest.mark.parametrize("classes", [2, 10])
def test_equally_frequent_certain_classes_score_their_number(classes: int, certain: float) -> None:
    one_hot = torch.eye(classes).repeat(20, 1)
    logits = torch.where(one_hot > 0, 0.0, -certain)  # infinity gives a probability of exactly 0
    mean, _ = inception_score(
        torch.cat([logits, torch.full_like(logits[:, :1], -certain)], 1)
    )  # and a class without samples
    assert mean.item() == pytest.approx(classes, rel=1e-12)


@pytest.mark.parametrize("n", [1000, 1003, 10, 19])
def test_the_score_matches_torch_fidelity_on_the_same_logits(n: int) -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric

    reference = isc_features_to_metric(random_logits(n), splits=10, shuffle=False)
    mean, std = inception_score(random_logits(n))
    assert mean.item() == pytest.approx(reference["inception_score_mean"], rel=1e-12)
    assert std.item() == pytest.approx(reference["inception_score_std"], rel=1e-9)


def test_order_matters_between_parts_and_not_within_one() -> None:
    logits = random_logits(200)
    within = torch.cat([chunk[torch.randperm(20)] for chunk in logits.split(20)])
    assert inception_score(within)[0].item() == pytest.approx(inception_score(logits)[0].item(), rel=1e-12)
    by_class = logits[logits.argmax(1).argsort()]
    assert inception_score(by_class)[0] < 0.8 * inception_score(logits)[0]


def test_neither_batches_nor_reals_change_the_score() -> None:
    logits = random_logits(200)
    metric = InceptionScore()
    for chunk in logits.split(30):
        metric.update(Features(torch.zeros(len(chunk), 1), chunk), real=False)
        metric.update(Features(torch.zeros(len(chunk), 1), chunk * 9), real=True)
    assert metric.compute() == inception_score(logits)


def test_ranks_with_contiguous_chunks_keep_the_order_of_one_process() -> None:
    logits = random_logits(200)
    ranks = [InceptionScore(), InceptionScore()]
    for rank, chunk in zip(ranks, logits.split(100), strict=True):
        rank.update(Features(torch.zeros(100, 1), chunk), real=False)
    others = iter([torch.cat(list(ranks[1].logits))])  # pyright: ignore[reportArgumentType]
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == inception_score(logits)


def test_too_few_samples_and_missing_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="lower splits"):
        inception_score(random_logits(9))
    assert InceptionScore().why_not(1000, 9)
    assert InceptionScore().why_not(1000, 10) is None
    with pytest.raises(ValueError, match="logits"):
        InceptionScore().update(Features(torch.zeros(3, 2)), real=False)
