"""Holm's correction by hand, and the verdict on a p."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from saddlepoint.comparison.stats.multiple_testing import bonferroni_level, difference_verdict, holm_p_values
from saddlepoint.comparison.stats.permutation import smallest_p


def test_holm_is_the_textbook_s_step_down() -> None:
    adjusted = holm_p_values({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06, "d": 0.02})  # 4 x, 3 x, 2 x; never decreasing
    assert list(adjusted) == ["a", "b", "c", "d"]


def test_adjusted_p_keep_their_order_and_stay_within_one() -> None:
    for p in np.random.default_rng(0).uniform(size=(50, 6)):
        adjusted = np.array(list(holm_p_values(dict(zip("abcdef", p, strict=True))).values()))
        assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
        assert ((p <= adjusted) & (adjusted <= 1) & (adjusted <= 6 * p + 1e-15)).all()


def test_equal_p_are_adjusted_equally_however_they_are_ordered() -> None:
    for names in permutations("abc"):
        assert holm_p_values(dict.fromkeys(names, 0.02)) == pytest.approx(dict.fromkeys("abc", 0.06))


def test_one_or_no_comparison_is_not_corrected() -> None:
    assert holm_p_values({"a": 0.3}) == {"a": 0.3}
    assert holm_p_values({}) == {}
    assert bonferroni_level(0.05, 1) == bonferroni_level(0.05, 0) == 0.05


def test_holm_rejects_exactly_what_the_stepwise_levels_reject() -> None:
    for p in np.random.default_rng(1).uniform(0, 0.06, size=(200, 5)):
        rejected = {int(i) for i, value in holm_p_values(dict(zip("01234", p, strict=True))).items() if value <= 0.05}
        expected: set[int] = set()
        for step, i in enumerate(np.argsort(p).tolist()):
            if p[i] > bonferroni_level(0.05, 5 - step):
                break
            expected.add(i)
        assert rejected == expected


def test_too_few_seeds_are_distinguished_from_no_difference_shown() -> None:
    too_few = "n seeds cannot show a difference at this level"
    assert difference_verdict(0.1, smallest_p(3, 3), 1) == too_few
    assert difference_verdict(1.0, smallest_p(5, 5), 7) == too_few  # 0.0079 against 0.05 / 7
    assert difference_verdict(1.0, smallest_p(5, 5), 5) == "no difference shown"  # against 0.01
    assert difference_verdict(5 * smallest_p(5, 5), smallest_p(5, 5), 5) == "differs"


def test_a_p_equal_to_the_level_passes_in_spite_of_rounding() -> None:
    for k in range(1, 40):
        assert difference_verdict(k * (0.05 / k), 0.05 / k, k) == "differs"
        assert difference_verdict(1.0, 0.05 / k, k) == "no difference shown"


def test_an_arm_that_passes_in_a_later_step_of_holm_differs() -> None:
    adjusted = holm_p_values({"many seeds": 0.0001, "few seeds": 0.0286})  # 0.0286 is the smallest p of 4 against 4
    assert difference_verdict(adjusted["few seeds"], smallest_p(4, 4), 2) == "differs"
