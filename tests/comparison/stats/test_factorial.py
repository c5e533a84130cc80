"""Effects: the numbers of a textbook, least squares by another parametrisation, and invalid designs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.stats.factorial import Effect, factorial_effects, rank_effects, stratified_rank_p
from saddlepoint.error import Mistake


def design(k: int, replicates: int) -> list[dict[str, bool]]:
    names = "abcde"[:k]
    return [dict(zip(names, cell, strict=True)) for _ in range(replicates) for cell in product((False, True), repeat=k)]


def by_name(effects: Sequence[Effect]) -> dict[str, Effect]:
    return {" x ".join(one.factors): one for one in effects}


def montgomery() -> tuple[list[dict[str, bool]], list[float]]:
    """Yield of a reaction by concentration and catalyst, 3 runs a cell (Montgomery, section 6.2, the 2^2 design)."""
    cells = {
        (False, False): (28, 25, 27),
        (True, False): (36, 32, 32),
        (False, True): (18, 19, 23),
        (True, True): (31, 30, 29),
    }
    runs = [({"A": a, "B": b}, float(y)) for (a, b), ys in cells.items() for y in ys]
    return [settings for settings, _ in runs], [y for _, y in runs]


def test_the_two_by_two_design_of_the_textbook_has_its_effects_and_p() -> None:
    effects = by_name(factorial_effects(*montgomery()))
    assert [round(effects[name].effect, 2) for name in ("A", "B", "A x B")] == [8.33, -5.00, 1.67]
    # the textbook rounds its F, 53.15, 19.13 and 2.13, before it looks up p
    assert [effects[name].p for name in ("A", "B", "A x B")] == pytest.approx([0.0001, 0.0024, 0.1826], abs=3e-4)
    half = stats.t.ppf(0.975, 8) * (25 / 3) / 53.15**0.5
    assert effects["A"].interval.high - effects["A"].effect == pytest.approx(half, rel=1e-3)


def dummies(blocks: np.ndarray) -> np.ndarray:
    return (blocks[:, None] == np.unique(blocks)[None, 1:]).astype(float)


@pytest.mark.parametrize("blocked", [False, True])
def test_effects_and_errors_are_those_of_least_squares(blocked: bool) -> None:
    """The saturated model of +1 and -1, and a dummy for each block, by numpy's least squares."""
    settings, blocks = design(3, 4), np.repeat([7, 1, 5, 2], 8)
    y = np.random.default_rng(0).normal(size=32) + blocks * 3.0
    signs = np.array([[1 if one[name] else -1 for name in "abc"] for one in settings])
    parts = [tuple(i for i in range(3) if bits[i]) for bits in product((0, 1), repeat=3)]
    X = np.column_stack([signs[:, list(part)].prod(1) for part in parts])
    if blocked:
        X = np.column_stack([X, dummies(blocks)])
    beta, squares, rank, _ = np.linalg.lstsq(X, y, rcond=None)
    freedom = 32 - rank
    covariance = np.linalg.inv(X.T @ X) * squares[0] / freedom
    effects = by_name(factorial_effects(settings, y.tolist(), 3, 0.9, blocks.tolist() if blocked else None))
    assert len(effects) == 7
    for i, part in enumerate(parts[1:], 1):
        one = effects[" x ".join("abc"[j] for j in part)]
        error = 2 * covariance[i, i] ** 0.5
        assert one.effect == pytest.approx(2 * beta[i])
        assert one.interval.high - one.effect == pytest.approx(stats.t.ppf(0.95, freedom) * error)
        assert one.p == pytest.approx(2 * stats.t.sf(abs(2 * beta[i]) / error, freedom))


def test_a_main_effect_compares_half_of_the_runs_with_the_other_half() -> None:
    settings = design(5, 3)
    y = np.random.default_rng(1).normal(size=96) + [4.0 * one["b"] for one in settings]
    effects = factorial_effects(settings, y.tolist())
    assert len(effects) == 5 + 10
    assert [one.factors for one in effects[:5]] == [("a",), ("b",), ("c",), ("d",), ("e",)]
    assert {(one.n_low, one.n_high) for one in effects} == {(48, 48)}
    on = np.array([one["b"] for one in settings])
    assert effects[1].effect == pytest.approx(y[on].mean() - y[~on].mean())


def test_an_interaction_is_half_the_difference_of_simple_effects() -> None:
    settings, y = montgomery()
    cell = {
        key: np.mean([v for s, v in zip(settings, y, strict=True) if tuple(s.values()) == key])
        for key in product((False, True), repeat=2)
    }
    simple = [cell[True, b] - cell[False, b] for b in (False, True)]
    assert by_name(factorial_effects(settings, y))["A x B"].effect == pytest.approx((simple[1] - simple[0]) / 2)


LEVELS = {"objective": ("plain", "hinge", "wasserstein", "relativistic"), "penalty": ("none", "r1", "gp")}


def several(replicates: int) -> list[dict[str, str]]:
    """The full cross of four objectives and three penalties."""
    cells = product(*LEVELS.values())
    return [dict(zip(LEVELS, cell, strict=True)) for cell in cells for _ in range(replicates)]


def least_squares(settings: Sequence[dict[str, str]], y: np.ndarray, blocks: np.ndarray | None = None):
    """The saturated model with a dummy for each level but the first: another parametrisation, by numpy.

    Its coefficients are simple effects at the first level of the other factor and differences of those, from which the
    averaged effects follow by a matrix; their errors by the covariance of the coefficients.
    """
    index = {name: np.array([LEVELS[name].index(one[name]) for one in settings]) for name in LEVELS}
    a, b = (np.eye(len(LEVELS[name]))[index[name]][:, 1:] for name in LEVELS)
    crossed = (a[:, :, None] * b[:, None, :]).reshape(len(y), -1)
    X = np.column_stack([np.ones(len(y)), a, b, crossed, *([] if blocks is None else [dummies(blocks)])])
    beta, squares, rank, _ = np.linalg.lstsq(X, y, rcond=None)
    freedom = len(y) - rank
    covariance = np.linalg.inv(X.T @ X) * squares[0] / freedom
    coefficients = {}
    for i in range(3):
        coefficients["objective", i + 1] = {1 + i: 1.0, **{6 + 2 * i + j: 1 / 3 for j in range(2)}}
    for j in range(2):
        coefficients["penalty", j + 1] = {4 + j: 1.0, **{6 + 2 * i + j: 1 / 4 for i in range(3)}}
    for i, j in product(range(3), range(2)):
        coefficients["both", i + 1, j + 1] = {
            6 + 2 * i + j: 1 / 2
        }  # half of how much one effect changes with the other
    rows = np.zeros((len(coefficients), X.shape[1]))
    for row, terms in zip(rows, coefficients.values(), strict=True):
        row[list(terms)] = list(terms.values())
    return rows @ beta, np.sqrt(np.diag(rows @ covariance @ rows.T)), freedom


@pytest.mark.parametrize("blocked", [False, True])
def test_effects_of_several_levels_are_those_of_least_squares(blocked: bool) -> None:
    settings, rng = several(5), np.random.default_rng(11)
    blocks = np.tile(np.arange(5), 12)
    y = rng.normal(size=60) + [3.0 * (one["objective"] == "hinge") * (one["penalty"] == "r1") for one in settings]
    y += blocks * 2.0
    expected, errors, freedom = least_squares(settings, y, blocks if blocked else None)
    effects = factorial_effects(
        settings, y.tolist(), level=0.9, blocks=blocks.tolist() if blocked else None, levels=LEVELS
    )
    assert [one.factors for one in effects] == [("objective",)] * 3 + [("penalty",)] * 2 + [
        ("objective", "penalty")
    ] * 6
    assert [one.levels for one in effects[:5]] == [("hinge",), ("wasserstein",), ("relativistic",), ("r1",), ("gp",)]
    assert [one.effect for one in effects] == pytest.approx(expected.tolist())
    half = stats.t.ppf(0.95, freedom) * errors
    assert [one.interval.high - one.effect for one in effects if one.interval] == pytest.approx(half.tolist())
    assert [one.p for one in effects] == pytest.approx((2 * stats.t.sf(abs(expected) / errors, freedom)).tolist())
    assert [(one.n_low, one.n_high) for one in effects] == [(15, 15)] * 3 + [(20, 20)] * 2 + [(10, 10)] * 6


def test_two_named_levels_are_equivalent_to_on_and_off() -> None:
    settings, y = montgomery()
    named = [{name: "on" if value else "off" for name, value in one.items()} for one in settings]
    levels = {"A": ("off", "on"), "B": ("off", "on")}
    for one, other in zip(factorial_effects(settings, y), factorial_effects(named, y, levels=levels), strict=True):
        assert (one.effect, one.interval, one.p) == (other.effect, other.interval, other.p)


def test_single_runs_of_three_factors_estimate_the_noise_by_the_highest_order() -> None:
    cells = [dict(zip("abc", cell, strict=True)) for cell in product((0, 1), (0, 1, 2), (0, 1))]
    y = np.random.default_rng(12).normal(size=12)
    effects = factorial_effects(cells, y.tolist())
    terms = [[1.0] * 12]
    for names in ("a", "b", "c", "ab", "ac", "bc"):
        levels = product(*((1, 2) if name == "b" else (1,) for name in names))
        terms += [[float(all(one[n] == k for n, k in zip(names, at, strict=True))) for one in cells] for at in levels]
    squares = np.linalg.lstsq(np.array(terms).T, y, rcond=None)[1][0]  # 12 runs, 10 terms
    error = np.sqrt(squares / 2) * np.sqrt(4 / 12)
    assert effects[0].interval is not None
    assert effects[0].interval.high - effects[0].effect == pytest.approx(stats.t.ppf(0.975, 2) * error)


def test_a_main_effect_of_ranks_has_the_exact_p_of_all_exchanges_within_cells() -> None:
    """3 x 2 cells of 2: each of the 6^2 or 6^3 exchanges is enumerated."""
    cells = [dict(zip("ab", cell, strict=True)) for cell in product((0, 1, 2), (0, 1)) for _ in range(2)]
    y = [3.0, 1.0, np.inf, 7.0, 2.0, 2.0, 9.0, np.inf, 8.0, 4.0, 6.0, 5.0]
    ranks = stats.rankdata(y)
    effects = rank_effects(cells, y)
    assert [one.levels for one in effects] == [(1,), (2,), (1,), (1, 1), (2, 1)]
    for one in effects[:3]:
        (factor,), (level,) = one.factors, one.levels
        strata = [
            [i for i, cell in enumerate(cells) if cell["ab".replace(factor, "")] == k and cell[factor] in (0, level)]
            for k in sorted({cell["ab".replace(factor, "")] for cell in cells})
        ]
        high = [i for i, cell in enumerate(cells) if cell[factor] == level]
        low = [i for i, cell in enumerate(cells) if cell[factor] == 0]
        assert one.effect == pytest.approx(ranks[high].mean() - ranks[low].mean())
        ways = [ranks[list(sum(way, ()))].mean() for way in product(*(combinations(s, 2) for s in strata))]
        distance = np.abs(np.array(ways) - np.mean(ways))
        assert one.p == pytest.approx(np.mean(distance >= abs(ranks[high].mean() - np.mean(ways)) - 1e-9))
        assert one.interval is None
    assert [one.p for one in effects[3:]] == [None, None]


def test_the_exact_p_of_ranks_of_two_groups_is_wilcoxon_s() -> None:
    a, b = [1.0, 4.0, 5.0, 9.0, 10.0], [2.0, 3.0, 6.0, 7.0, 8.0, 11.0]
    signs = np.array([1] * 5 + [-1] * 6)
    p = stratified_rank_p(stats.rankdata([*a, *b]), signs, [list(range(11))])
    assert p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)


def test_false_effects_of_ranks_are_at_most_as_frequent_as_the_level() -> None:
    cells, rng = several(3), np.random.default_rng(13)
    hits = sum(rank_effects(cells, rng.exponential(size=36), order=1, levels=LEVELS)[0].p <= 0.1 for _ in range(300))  # pyright: ignore[reportOptionalOperand]
    assert stats.binom.ppf(0.0005, 300, 0.07) <= hits <= stats.binom.ppf(0.9995, 300, 0.1)


def test_the_order_of_runs_does_not_matter() -> None:
    settings, y = montgomery()
    order = np.random.default_rng(2).permutation(12)
    shuffled = factorial_effects([settings[i] for i in order], [y[i] for i in order])
    for one, other in zip(factorial_effects(settings, y), shuffled, strict=True):
        assert one.effect == pytest.approx(other.effect)
        assert one.p == pytest.approx(other.p)


def test_blocks_remove_a_shift_common_to_a_seed() -> None:
    settings, seeds = design(2, 3), [0] * 4 + [1] * 4 + [2] * 4
    noise = np.random.default_rng(3).normal(size=12)
    plain = factorial_effects(settings, noise.tolist(), blocks=seeds)
    moved = factorial_effects(settings, (noise + 1e3 * np.array(seeds)).tolist(), blocks=seeds)
    for one, other in zip(plain, moved, strict=True):
        assert [one.effect, one.interval.low, one.p] == pytest.approx([other.effect, other.interval.low, other.p])


def test_false_effects_are_as_frequent_as_the_level() -> None:
    settings, rng = design(2, 2), np.random.default_rng(4)
    hits = sum(factorial_effects(settings, rng.normal(size=8).tolist())[0].p <= 0.1 for _ in range(500))
    assert stats.binom.ppf(0.0005, 500, 0.1) <= hits <= stats.binom.ppf(0.9995, 500, 0.1)


def test_one_run_per_cell_estimates_the_noise_by_higher_orders() -> None:
    settings = design(3, 1)
    y = np.random.default_rng(5).normal(size=8)
    squares = 2 * by_name(factorial_effects(design(3, 2), np.tile(y, 2).tolist(), 3))["a x b x c"].effect ** 2
    first = factorial_effects(settings, y.tolist())[
        0
    ]  # order 2 leaves one degree of freedom, the three-factor interaction
    error = 2 * (squares / 8) ** 0.5
    assert first.interval.high - first.effect == pytest.approx(stats.t.ppf(0.975, 1) * error)
    with pytest.raises(Mistake, match="leave no degree of freedom to estimate the noise"):
        factorial_effects(settings, y.tolist(), order=3)


def test_equal_runs_of_a_cell_leave_no_error() -> None:
    y = [0.1 + 0.7 * one["a"] for one in design(2, 2)]
    effects = by_name(factorial_effects(design(2, 2), y, order=1))
    assert effects["a"].p == 0
    assert effects["a"].interval.low == effects["a"].interval.high == pytest.approx(0.7)
    assert effects["b"].p == 1


def test_missing_cells_are_named() -> None:
    settings = design(2, 2)
    with pytest.raises(Mistake, match="a=on b=on has 0"):
        factorial_effects([one for one in settings if not (one["a"] and one["b"])], [0.0] * 6)
    with pytest.raises(Mistake, match="a=on b=on has 1"):
        factorial_effects(settings[:-1], [0.0] * 7)


def test_a_factor_that_never_varies_is_named() -> None:
    with pytest.raises(Mistake, match="b is on in every run"):
        factorial_effects([{"a": a, "b": True} for a in (True, False)] * 2, [1.0, 2.0, 3.0, 4.0])


def test_a_run_without_a_factor_is_refused() -> None:
    with pytest.raises(Mistake, match="not every run has b"):
        factorial_effects([{"a": True, "b": True}, {"a": False}], [1.0, 2.0])


def test_blocks_that_do_not_hold_every_cell_equally_often_are_refused() -> None:
    with pytest.raises(Mistake, match="block 0 must contain every cell equally often"):
        factorial_effects(design(1, 2), [1.0, 2.0, 3.0, 4.0], blocks=[0, 1, 0, 1])
