"""Names of scores, and differences between two contracts."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from saddlepoint.evaluation.contract import Contract, Score, first_differing_field

CONTRACT = Contract(
    metric="coverage",
    n_real=897,
    n_fake=900,
    split="train",
    data="ab" * 32,
    resolution="1x8x8",
    resizer="none",
    extractor="digits",
    extractor_sha256="cd" * 32,
    weights="averaged",
    seed=0,
    settings={"k": 5, "N": 897, "M": 900},
)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({}, "coverage_digits_900_train"),
        ({"metric": "inception_score", "extractor": "mnist", "n_fake": 10_000}, "inception_score_mnist_10k_train"),
        ({"metric": "fid", "extractor": "inception", "n_fake": 10_000}, "fid_10k_train"),
        ({"metric": "fid", "extractor": "inception", "n_fake": 2_500, "split": "test"}, "fid_2500_test"),
        ({"metric": "fid", "extractor": "classifier-0a1b2c3d", "n_fake": 1000}, "fid_classifier-0a1b2c3d_1k_train"),
    ],
)
def test_a_score_is_named_by_metric_extractor_number_and_split(change: dict[str, Any], key: str) -> None:
    assert replace(CONTRACT, **change).score_name == key


def test_a_score_is_restored_from_json() -> None:
    score = Score(0.25, CONTRACT, std=0.5)
    assert Score.from_dict(json.loads(json.dumps(score.to_dict()))) == score


@pytest.mark.parametrize("name", [field.name for field in fields(Contract) if field.name != "settings"])
def test_a_difference_in_any_field_is_named(name: str) -> None:
    other = replace(
        CONTRACT, **{name: getattr(CONTRACT, name) * 2 + (1 if isinstance(getattr(CONTRACT, name), int) else "x")}
    )
    assert first_differing_field(CONTRACT, other) == first_differing_field(other, CONTRACT) == name


def test_a_setting_that_differs_or_is_missing_is_named() -> None:
    assert first_differing_field(CONTRACT, replace(CONTRACT, settings={"k": 5, "N": 500, "M": 900})) == "settings.N"
    assert first_differing_field(CONTRACT, replace(CONTRACT, settings={"k": 5, "N": 897})) == "settings.M"
    assert first_differing_field(replace(CONTRACT, settings={}), CONTRACT) == "settings.k"
    assert first_differing_field(CONTRACT, replace(CONTRACT)) is None
