"""The expected best of k: closed forms, enumeration of the draws, and selection by another score."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from saddlepoint.comparison.stats.tuning import expected_best_score
from saddlepoint.error import Mistake

SCORES = [4.0, 1.0, 3.0, 2.0]


def expected_best(scores, k: int, higher: bool) -> float:
    """Select by the reported score."""
    return expected_best_score(scores, scores, k, higher)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_expected_best_is_the_mean_over_all_draws_of_k(k: int) -> None:
    draws = list(product(SCORES, repeat=k))
    assert expected_best(SCORES, k, True) == pytest.approx(np.mean([max(draw) for draw in draws]))
    assert expected_best(SCORES, k, False) == pytest.approx(np.mean([min(draw) for draw in draws]))


def test_one_draw_is_the_mean_and_more_are_never_worse() -> None:
    scores = np.random.default_rng(0).normal(size=20)
    best = [expected_best(scores, k, True) for k in range(1, 21)]
    assert best[0] == pytest.approx(scores.mean())
    assert (np.diff(best) > 0).all()
    assert best[-1] < scores.max()


def test_uniform_scores_have_the_expected_order_statistics() -> None:
    grid = (np.arange(2_000) + 0.5) / 2_000
    assert expected_best(grid, 5, True) == pytest.approx(5 / 6, abs=1e-3)
    assert expected_best(grid, 5, False) == pytest.approx(1 / 6, abs=1e-3)


@pytest.mark.parametrize("higher", [True, False])
def test_the_reported_score_is_that_of_the_selected_setting(higher: bool) -> None:
    """Enumerates the draws of 3 settings; tied settings are equally likely."""
    selection, reported = [0.3, 0.1, 0.3, 0.2, 0.9], [10.0, 20.0, 40.0, 80.0, 160.0]
    best = max if higher else min
    outcomes = []
    for draw in product(range(5), repeat=3):
        top = best(selection[i] for i in draw)
        outcomes.append(np.mean([reported[i] for i in draw if selection[i] == top]))
    assert expected_best_score(selection, reported, 3, higher) == pytest.approx(np.mean(outcomes))


def test_selection_by_noise_gains_nothing() -> None:
    rng = np.random.default_rng(1)
    scores = [expected_best_score(rng.normal(size=10), SCORES * 2 + [2.0, 3.0], 10, True) for _ in range(500)]
    assert np.mean(scores) == pytest.approx(2.5, abs=0.15)


def test_a_failed_setting_is_selected_only_if_all_drawn_failed() -> None:
    score = expected_best_score([math.inf, 1.0], [300.0, 5.0], 2, False)
    assert score == pytest.approx(0.25 * 300 + 0.75 * 5)


@pytest.mark.parametrize("k", [0, 5])
def test_a_budget_beyond_the_settings_tried_is_refused(k: int) -> None:
    with pytest.raises(Mistake, match="k goes from 1 to 4"):
        expected_best(SCORES, k, True)


@pytest.mark.parametrize("selection", [[1.0, 2.0], [1.0, math.nan, 2.0, 3.0]])
def test_a_setting_without_a_selection_score_is_refused(selection: list[float]) -> None:
    with pytest.raises(Mistake, match="needs a selection score"):
        expected_best_score(selection, SCORES, 1, True)
