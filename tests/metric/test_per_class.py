"""Metrics of single classes: the measured classes, the number of samples, and the drawn rows."""

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.class_coverage import ClassCoverage
from saddlepoint.metric.class_frechet_distance import ClassFrechetDistance
from saddlepoint.metric.per_class import choose_equal_classes, draw_rows_per_class, frequent_classes, predicted_classes


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_predicted_class_has_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [-1.0, -3.0, -2.0]])
    assert predicted_classes(Features(torch.zeros(2, 1), logits)).tolist() == [1, 0]
    with pytest.raises(ValueError, match="logits"):
        predicted_classes(Features(torch.zeros(2, 1)))


def test_n_is_the_share_of_the_rarest_measured_class_and_half_its_reals() -> None:
    count = torch.tensor([500, 300, 190, 10, 0])
    # 400 perfect fakes have 200, 120, 76, 4 and 0 samples of the classes
    assert [classes.tolist() for classes in frequent_classes(count, 400, 20).split(9)] == [[0, 1, 2]]
    classes, n = choose_equal_classes(count, 400, share=0.5, least=20)
    assert (classes.tolist(), n) == ([0, 1, 2], 38)
    assert choose_equal_classes(count, 400, share=0.5, least=60)[0].tolist() == [0, 1]
    assert choose_equal_classes(count, 400, share=0.5, least=60)[1] == 60
    assert choose_equal_classes(count, 100_000, share=0.5, least=20)[1] == 95  # limited by two disjoint sets of reals
    assert choose_equal_classes(count, 400, share=0.5, least=20, most=25)[1] == 25
    assert choose_equal_classes(count, 10, share=0.5, least=20)[0].tolist() == []
    assert choose_equal_classes(torch.zeros(0, dtype=torch.int64), 10, share=0.5)[1] == 0


def test_a_class_of_few_reals_is_not_frequent_however_many_the_fakes() -> None:
    assert frequent_classes(torch.tensor([990, 10]), 1_000_000, 20).tolist() == [0]


def test_rows_are_drawn_within_a_class_without_repeats_whatever_the_other_classes() -> None:
    label = torch.randint(3, (200,), generator=torch.Generator().manual_seed(1))
    rows = draw_rows_per_class(label, torch.tensor([0, 2]), 30, draws())
    for number, row in zip((0, 2), rows, strict=True):
        assert len(row.unique()) == 30
        assert (label[row] == number).all()
    few = (label == 1).nonzero().flatten()[:4]
    assert len(draw_rows_per_class(label, torch.tensor([1]), 1000, draws())[0]) == int((label == 1).sum())
    label[few] = 7
    assert all(
        torch.equal(a, b)
        for a, b in zip(draw_rows_per_class(label, torch.tensor([0, 2]), 30, draws()), rows, strict=True)
    )


def test_all_rows_of_a_class_are_equally_likely() -> None:
    label = torch.tensor([0, 1] * 10)
    stream, hits = draws(), torch.zeros(20)
    for _ in range(2000):
        for row in draw_rows_per_class(label, torch.tensor([0, 1]), 3, stream):
            hits[row] += 1
    assert (hits - 600).abs().max() < 5 * (2000 * 0.3 * 0.7) ** 0.5


def test_renaming_classes_draws_the_same_rows() -> None:
    label = torch.randint(3, (200,), generator=torch.Generator().manual_seed(1))
    renamed = torch.tensor([2, 0, 1])[label]
    before = draw_rows_per_class(label, torch.tensor([0, 1, 2]), 20, draws())
    after = draw_rows_per_class(renamed, torch.tensor([2, 0, 1]), 20, draws())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_invalid_settings_are_refused() -> None:
    for settings in ({"labels": "guessed"}, {"share": 0.0}, {"share": 1.1}, {"draws": 0}, {"least": 1}):
        with pytest.raises(Mistake):
            ClassFrechetDistance(**settings)
    with pytest.raises(Mistake, match="6 samples"):
        ClassCoverage(k=5, n_per_class=5)
    assert ClassFrechetDistance().why_not(1000, 39)
    assert ClassFrechetDistance().why_not(39, 1000)
    assert ClassFrechetDistance().why_not(1000, 40) is None
