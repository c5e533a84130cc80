"""Scores of the same runs as arms: differences are those within runs, whatever the spread between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from folders import contract, run
from scipy import stats

from saddlepoint.comparison.arms.baseline_difference import compare_with_baseline
from saddlepoint.comparison.arms.comparison import Comparison, ComparisonOptions, build_comparison
from saddlepoint.comparison.arms.record import load_records
from saddlepoint.comparison.report.overview import overview_sentences
from saddlepoint.comparison.report.table import arm_rows, primary_sheet
from saddlepoint.error import Mistake

REAL = [0.50, 0.61, 0.72, 0.83, 0.90, 0.55, 0.65]  # a spread between runs that hides the differences
GAIN = [0.010, 0.012, 0.008, 0.011, 0.009, 0.013, 0.010]
SCORES = ("augmentation_accuracy_real", "augmentation_accuracy_gan")


def score_key(metric: str) -> str:
    return f"{metric}_digits_1k_test"


def write(outputs: Path, values: Mapping[str, Sequence[float]], **settings: dict) -> Path:
    """Runs with one score per metric, seeds 0, 1, ...; `settings`: contract settings by metric."""
    first, *others = values
    for seed, final in enumerate(values[first]):
        scores = {
            score_key(name): {
                "value": values[name][seed],
                "std": None,
                "contract": contract(metric=name, settings=settings.get(name, {})),
            }
            for name in others
        }
        measured = {"metric": first, "settings": settings.get(first, {})}
        run(outputs, "labels10", seed, final, key=score_key(first), others=scores, measured=measured, untrained=None)
    return outputs


def values(gain: Sequence[float] = GAIN) -> dict[str, list[float]]:
    return {SCORES[0]: REAL, SCORES[1]: [a + b for a, b in zip(REAL, gain, strict=True)]}


def compare(outputs: Path, scores: Sequence[str] = SCORES, **more) -> Comparison:
    return build_comparison(load_records(outputs), ComparisonOptions(scores=tuple(scores), baseline="real", **more))


def test_each_score_is_an_arm_with_its_value_in_every_run(tmp_path: Path) -> None:
    comparison = compare(write(tmp_path, values()))
    assert comparison.by == ("score",)
    assert {arm.name: arm.values for arm in comparison.arms} == {
        "score=real": pytest.approx(values()[SCORES[0]]),
        "score=gan": pytest.approx(values()[SCORES[1]]),
    }
    assert comparison.primary.key == "augmentation_accuracy_digits_1k_test"
    assert comparison.primary.higher_is_better
    assert "2 arms by score: 2 scores of each of 7 runs; 14 finished." in overview_sentences(comparison)


def test_the_difference_has_the_paired_t_interval_and_the_exact_sign_flip_p(tmp_path: Path) -> None:
    comparison = compare(write(tmp_path, values()))
    difference = compare_with_baseline(comparison)["score=gan"]
    paired = difference.paired
    assert paired is not None
    assert paired.difference is not None
    assert paired.difference.interval is not None
    expected = stats.ttest_1samp(np.array(GAIN), 0).confidence_interval(0.95)
    assert paired.difference.mean == pytest.approx(np.mean(GAIN))
    assert (paired.difference.interval.low, paired.difference.interval.high) == pytest.approx(tuple(expected))
    assert difference.p == difference.smallest_p == 2 / 2**7  # all differences have one sign
    assert difference.verdict == "differs"
    assert difference.g is None
    assert difference.detectable is None
    columns = primary_sheet(comparison, arm_rows(comparison)).columns
    assert "paired difference" in columns


def test_runs_that_only_share_their_seed_are_tested_unpaired(tmp_path: Path) -> None:
    """The same numbers as two arms of runs: the verdict is that of the unpaired test, and the interval is listed."""
    for name, finals in values().items():
        for seed, final in enumerate(finals):
            run(tmp_path, name, seed, final, objective=name, shared=["labels"], measured={"metric": "coverage"},
                key=score_key("coverage"), untrained=None)  # fmt: skip
    comparison = build_comparison(load_records(tmp_path), ComparisonOptions(baseline=SCORES[0]))
    difference = compare_with_baseline(comparison)[f"objective={SCORES[1]}"]
    assert difference.verdict == "no difference shown"
    assert difference.paired is not None
    assert difference.paired.difference is not None
    assert difference.paired.difference.mean == pytest.approx(np.mean(GAIN))


def test_scores_that_were_measured_differently_are_refused(tmp_path: Path) -> None:
    write(tmp_path, values(), augmentation_accuracy_gan={"updates": 3})
    with pytest.raises(Mistake, match="updates"):
        compare(tmp_path)


@pytest.mark.parametrize(
    ("scores", "more", "message"),
    [
        (["augmentation_accuracy_real"], {}, "give two or more scores of one metric"),
        (
            ["augmentation_accuracy_real", "augmentation_accuracy_gna"],
            {},
            "scores=augmentation_accuracy_gna: no run has such a score.*gan",
        ),
        (
            SCORES,
            {"metric": "fid"},
            "metric=fid: scores=augmentation_accuracy_real,augmentation_accuracy_gan are compared; leave metric",
        ),
    ],
)
def test_scores_that_cannot_be_arms_are_reported_in_a_line(tmp_path: Path, scores, more, message) -> None:
    write(tmp_path, values())
    with pytest.raises(Mistake, match=message):
        compare(tmp_path, scores, **more)


def test_scores_of_several_metrics_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"augmentation_accuracy_real": REAL, "coverage": REAL})
    with pytest.raises(Mistake, match="give two or more scores of one metric"):
        compare(tmp_path, ["augmentation_accuracy_real", "coverage"])
