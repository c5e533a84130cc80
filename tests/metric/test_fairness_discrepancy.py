"""Fairness discrepancy: the distance of the frequencies, by an exact rule, and its anchors."""

import math

import pytest
import torch

from saddlepoint.data.coloured_digits import ColouredDigits, paint
from saddlepoint.data.digits import Digits
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.fairness_discrepancy import FairnessDiscrepancy


def measured(n_red: int, n_green: int, data: ColouredDigits | None = None) -> FairnessDiscrepancy:
    metric = FairnessDiscrepancy()
    assert metric.setup(data or ColouredDigits()) is None
    colour = torch.tensor([0] * n_red + [1] * n_green)
    x = paint(torch.full((len(colour), 1, 8, 8), 7, dtype=torch.uint8), colour)
    for part in x.split(4):
        metric.update(Features(torch.zeros(len(part), 1), None, part), real=False)
        metric.update(Features(torch.zeros(len(part), 1), None, part), real=True)  # reals do not count
    return metric


@pytest.mark.parametrize(
    ("n_red", "expected"), [(10, 0.0), (18, 0.4 * math.sqrt(2)), (20, math.sqrt(0.5)), (5, 0.25 * math.sqrt(2))]
)
def test_it_is_the_distance_of_the_frequencies(n_red: int, expected: float) -> None:
    assert float(measured(n_red, 20 - n_red).compute().value) == pytest.approx(expected, abs=1e-12)


def test_the_anchor_of_the_training_split_is_the_bias_of_the_data_and_does_not_depend_on_the_fakes() -> None:
    metric = measured(3, 1)
    assert float(metric.anchor_scores(450)["train"].value) == pytest.approx(math.sqrt(2) * (726 / 807 - 0.5))
    balanced = measured(3, 1, ColouredDigits(keep="balanced"))
    assert float(balanced.anchor_scores(450)["train"].value) == pytest.approx(0)


def test_by_chance_is_the_root_mean_square_of_the_score_of_balanced_samples() -> None:
    chance = measured(30, 70).compute().detail["by chance"]
    red = torch.distributions.Binomial(100, torch.tensor(0.5)).sample((20_000,)) / 100
    assert chance == pytest.approx(float((2 * (red - 0.5).square()).mean().sqrt()), rel=0.03)


def test_the_contract_names_the_attribute_and_the_rule() -> None:
    settings = measured(1, 1).settings(450, 2)
    assert (settings["attribute"], settings["p_ref"]) == ("colour", [0.5, 0.5])
    assert settings["rule"] == "saddlepoint.data.coloured_digits.colour_of"
    other = measured(1, 1, ColouredDigits(ratio=0.7, weights="oracle", draw=3)).settings(450, 2)
    assert other == settings  # arms with other training sets are compared under one contract


def test_data_without_a_rule_or_a_reference_set_are_left_out() -> None:
    assert "exact rule for the attribute colour" in str(FairnessDiscrepancy().setup(Digits()))
    assert "exact rule for the attribute shape" in str(FairnessDiscrepancy("shape").setup(ColouredDigits()))
    assert "no such split" in str(FairnessDiscrepancy(split="reserved").setup(ColouredDigits()))
    assert FairnessDiscrepancy().why_not(2, 2) is not None
