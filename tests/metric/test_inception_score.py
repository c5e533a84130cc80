"""The laws of the Inception score, and its parity with torch-fidelity's arithmetic."""

import pytest
import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.inception_score import InceptionScore, inception_score


def drawn(n: int, k: int = 6, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


def test_equal_predictions_score_one() -> None:
    mean, std = inception_score(torch.randn(7).expand(100, 7))
    assert mean.item() == pytest.approx(1, abs=1e-12)
    assert std.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("certain", [1e4, float("inf")])
@pytest.mark.parametrize("classes", [2, 10])
def test_equally_frequent_certain_classes_score_their_number(classes: int, certain: float) -> None:
    one_hot = torch.eye(classes).repeat(20, 1)
    logits = torch.where(one_hot > 0, 0.0, -certain)  # with infinity a probability of exactly 0
    mean, _ = inception_score(
        torch.cat([logits, torch.full_like(logits[:, :1], -certain)], 1)
    )  # and a class nobody is in
    assert mean.item() == pytest.approx(classes, rel=1e-12)


@pytest.mark.parametrize("n", [1000, 1003, 10, 19])
def test_the_score_is_torch_fidelitys_on_the_same_logits_in_the_same_order(n: int) -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric

    theirs = isc_features_to_metric(drawn(n), splits=10, shuffle=False)
    mean, std = inception_score(drawn(n))
    assert mean.item() == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert std.item() == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_order_matters_between_parts_and_not_within_one() -> None:
    logits = drawn(200)
    within = torch.cat([part[torch.randperm(20)] for part in logits.split(20)])
    assert inception_score(within)[0].item() == pytest.approx(inception_score(logits)[0].item(), rel=1e-12)
    by_class = logits[logits.argmax(1).argsort()]
    assert inception_score(by_class)[0] < 0.8 * inception_score(logits)[0]


def test_batches_leave_the_score_as_it_is_and_reals_play_no_part() -> None:
    logits = drawn(200)
    metric = InceptionScore()
    for part in logits.split(30):
        metric.update(Features(torch.zeros(len(part), 1), part), real=False)
        metric.update(Features(torch.zeros(len(part), 1), part * 9), real=True)
    assert metric.compute() == inception_score(logits)


def test_ranks_that_take_contiguous_parts_give_the_order_of_one_process() -> None:
    logits = drawn(200)
    ranks = [InceptionScore(), InceptionScore()]
    for rank, part in zip(ranks, logits.split(100), strict=True):
        rank.update(Features(torch.zeros(100, 1), part), real=False)
    others = iter([torch.cat(list(ranks[1].logits))])  # pyright: ignore[reportArgumentType]
    ranks[0].sync(dist_sync_fn=lambda mine, group: [mine, next(others)], distributed_available=lambda: True)
    ranks[0]._to_sync = False
    assert ranks[0].compute() == inception_score(logits)


def test_too_few_samples_and_missing_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="lower splits"):
        inception_score(drawn(9))
    assert InceptionScore().why_not(1000, 9)
    assert InceptionScore().why_not(1000, 10) is None
    with pytest.raises(ValueError, match="logits"):
        InceptionScore().update(Features(torch.zeros(3, 2)), real=False)
