"""Authenticity: 0 for copies, 1 for samples off the data, and its definition as loops; the train split counts."""

import math

import pytest
import torch

from saddlepoint.data.digits import Digits
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.authenticity import Authenticity


@pytest.fixture
def data() -> Digits:
    return Digits(reserved=857)


def compute(data: Digits, x: torch.Tensor) -> float:
    metric = Authenticity()
    assert metric.setup(data) is None
    metric.update(Features(torch.zeros(len(x), 1), x=x), real=False)
    return float(metric.compute())


def test_copies_score_0_and_half_copies_half(data: Digits) -> None:
    train, far = data.split("train").x, torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    assert compute(data, train) == 0
    assert compute(data, torch.cat([train, far])) == 0.5


def test_the_score_matches_its_definition(data: Digits) -> None:
    known = [row.flatten().double().tolist() for row in data.split("train").x]
    x = data.split("test").x[:60]
    authentic = 0
    for fake in x.flatten(1).double().tolist():
        nearest = min(range(40), key=lambda j: math.dist(fake, known[j]))
        radius = min(math.dist(known[nearest], known[j]) for j in range(40) if j != nearest)
        authentic += math.dist(fake, known[nearest]) > radius
    assert 0 < authentic < 60
    assert compute(data, x) == pytest.approx(authentic / 60)


def test_it_is_measured_against_train_whatever_the_split_and_its_anchor_is_all_held_out_images(data: Digits) -> None:
    evaluator = Evaluator(Shipped("digits"), {"authenticity": Authenticity()}, n=40, split="test")
    copies = data.split("train").x / 127.5 - 1
    score = evaluator(lambda n: copies[:n], data)["authenticity_digits_40_test"]
    assert score.value == 0
    assert score.contract.settings["train"] == data.split("train").sha256
    held_out = torch.cat([data.split(name).x for name in ("reserved", "validation", "test")])
    (anchor,) = evaluator.measure_anchors(data)["held-out reals"].values()
    assert anchor.value == compute(data, held_out)
    assert anchor.contract.n_fake == len(held_out)
