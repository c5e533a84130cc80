"""Arms become sheets: who differs, what could have been seen, what it took; and the files of the report."""

from __future__ import annotations

import csv
import io
import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from folders import KEY, UNTRAINED, arm, chosen_by, contract, run
from rich.console import Console
from scipy import stats

from saddlepoint.comparison.arms.comparison import Comparison, ComparisonOptions, build_comparison
from saddlepoint.comparison.arms.record import read_runs
from saddlepoint.comparison.report.budget import budget_sheet
from saddlepoint.comparison.report.build_report import build_report, plotted_arms, report_files, write_comparison
from saddlepoint.comparison.report.effects import design_effects, effects_sheet
from saddlepoint.comparison.report.findings import relation_to_baseline
from saddlepoint.comparison.report.overview import overview_sentences
from saddlepoint.comparison.report.secondary import differences_sheet, runs_sheet, secondary_sheets
from saddlepoint.comparison.report.sheet import Sheet
from saddlepoint.comparison.report.table import (
    ArmRow,
    arm_rows,
    is_factorial,
    median_ranks,
    numbers_sheet,
    primary_sheet,
)
from saddlepoint.comparison.report.terminal_page import terminal_tables
from saddlepoint.error import Mistake

HINGE, PLAIN = [7.0, 8.0, 9.5, 7.5, 8.5], [10.0, 11.0, 12.5, 10.5, 11.5]


def compared(outputs: Path, **asked: object) -> Comparison:
    words = {"by": ("objective",), "metric": KEY, "baseline": "nonsaturating", **asked}
    return build_comparison(read_runs(outputs), ComparisonOptions(**words))  # pyright: ignore[reportArgumentType]


def line(found: list[ArmRow], arm: str, survivors: bool = False) -> ArmRow:
    return next(one for one in found if one.arm == f"objective={arm}" and one.survivors == survivors)


def column(sheet: Sheet, name: str) -> list[str]:
    return [row[sheet.columns.index(name)].text for row in sheet.rows]


def order(sheet: Sheet, name: str) -> list[object]:
    return [row[sheet.columns.index(name)].sort_key for row in sheet.rows]


def sheet(found: Comparison, title: str) -> Sheet:
    return next(one for one in secondary_sheets(found) if title in one.title)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", HINGE)
    return tmp_path


# ----------------------------------------------------------------------------------------------------- against the rest


def test_an_arm_stands_against_the_baseline_as_scipy_says(outputs: Path) -> None:
    one = line(arm_rows(compared(outputs)), "hinge")
    assert one.against is not None
    assert one.against.p == pytest.approx(
        stats.permutation_test(
            (HINGE, PLAIN), lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis), n_resamples=np.inf
        ).pvalue  # pyright: ignore[reportAttributeAccessIssue]
    )
    assert one.against.smallest_p == pytest.approx(2 / 252)
    assert one.against.holm_p == one.against.p, "a family of one"
    assert one.against.g is not None
    assert one.against.g < 0, "hinge minus the baseline, whose scores are higher"
    assert one.against.verdict == "differs"
    interval = stats.ttest_1samp(HINGE, 0).confidence_interval(0.95)
    assert one.estimate is not None
    assert one.estimate.interval is not None
    assert (one.estimate.interval.low, one.estimate.interval.high) == pytest.approx((interval.low, interval.high))


def test_three_seeds_cannot_show_a_difference_and_the_table_says_so_however_large_it_is(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [50.0, 51.0, 52.0])
    arm(tmp_path, "hinge", [1.0, 2.0, 3.0])
    one = line(arm_rows(compared(tmp_path)), "hinge").against
    assert one is not None
    assert (one.p, one.smallest_p) == (pytest.approx(0.1), pytest.approx(0.1))
    assert "3 seeds cannot show" in one.verdict
    assert one.detectable == np.inf


def test_the_family_is_every_arm_but_the_baseline(outputs: Path) -> None:
    for objective in ("minimax", "wasserstein"):
        arm(outputs, objective, HINGE)
    found = arm_rows(compared(outputs))
    for name in ("hinge", "minimax", "wasserstein"):
        one = line(found, name).against
        assert one is not None
        assert one.holm_p == pytest.approx(3 * one.p)
    assert line(found, "nonsaturating").against is None


def test_a_failure_counts_its_rate_is_an_interval_and_survivors_stand_in_a_line_of_their_own(outputs: Path) -> None:
    run(outputs, "hinge", 5, None, status="diverged", untrained=90.0)
    found = arm_rows(compared(outputs))
    whole, rest = line(found, "hinge"), line(found, "hinge", survivors=True)
    assert whole.estimate is not None
    assert rest.estimate is not None
    assert whole.estimate.mean == pytest.approx(np.mean([*HINGE, UNTRAINED]))
    assert (whole.estimate.std, whole.estimate.interval, whole.bca) == (None, None, None), "an imputed value has none"
    assert rest.estimate.interval is not None, "what was measured has"
    assert (rest.estimate.n, rest.estimate.mean) == (5, pytest.approx(np.mean(HINGE)))
    assert rest.against is None, "what survived is no fair sample"
    exact = stats.binomtest(1, 6).proportion_ci(method="exact")
    assert (whole.failure_rate.low, whole.failure_rate.high) == pytest.approx((exact.low, exact.high))
    table = primary_sheet(compared(outputs), found)
    assert column(table, "arm")[-1] == "objective=hinge, survivors only"
    assert column(table, "failed")[1].startswith("1/6 [0.0042, 0.64]")


def rank_test(a: list[float], b: list[float]) -> float:
    ranks = stats.rankdata([*a, *b])
    return stats.permutation_test(
        (ranks[: len(a)], ranks[len(a) :]), lambda x, y, axis: abs(x.mean(axis) - y.mean(axis)), n_resamples=np.inf,
        alternative="greater", vectorized=True,
    ).pvalue  # fmt: skip


def test_imputed_values_have_ranks_and_neither_g_nor_a_detectable_difference(outputs: Path) -> None:
    for seed in (5, 6):
        run(outputs, "hinge", seed, None, status="diverged")
    found = compared(outputs)
    one = line(arm_rows(found), "hinge").against
    assert one is not None
    assert (one.g, one.g_interval, one.detectable, one.detectable_interval) == (None, None, None, None)
    assert one.uses_ranks
    assert one.p == pytest.approx(rank_test([*HINGE, 1e6, 1e6], PLAIN)), "exact, by ranks, the two failures tied"
    table = primary_sheet(found, arm_rows(found))
    assert column(table, "mean")[1] == "34.36", "no bracket behind it"
    assert column(table, "sd")[1] == column(table, "Hedges g")[1] == column(table, "detectable")[1] == ""
    assert column(table, "rank")[1] != ""
    assert any("test is of ranks" in note for note in table.notes)
    (row,) = [
        row for row in csv.DictReader(io.StringIO(str(made_of(found)["table.csv"]))) if float(row["imputed"]) == 2
    ]
    for name in ("mean_low", "mean_high", "sd", "sd_low", "hedges_g", "detectable", "mean_bca_low", "iqm"):
        assert row[name] == ""
    assert row["p_of"] == "ranks"


def test_which_way_an_arm_differs_is_said_by_the_ranks_that_were_tested(tmp_path: Path) -> None:
    """All runs of one arm failed and most of the other's: both medians are the floor, and the ranks differ."""
    for seed in range(11):
        run(tmp_path, "nonsaturating", seed, None, status="diverged", objective="nonsaturating")
        final = 10.0 + seed if seed < 5 else None
        run(tmp_path, "hinge", seed, final, status="diverged" if final is None else "finished")
    found = compared(tmp_path)
    one = line(arm_rows(found), "hinge")
    assert one.median == UNTRAINED
    assert one.against is not None
    assert one.against.verdict == "differs"
    assert relation_to_baseline(found, one.against) == "better"


def test_failures_of_the_baseline_make_every_comparison_with_it_one_of_ranks(outputs: Path) -> None:
    run(outputs, "nonsaturating", 5, None, status="diverged", objective="nonsaturating")
    arm(outputs, "minimax", PLAIN)
    found = arm_rows(compared(outputs))
    for name in ("hinge", "minimax"):
        one = line(found, name).against
        assert one is not None
        assert one.uses_ranks
        assert one.g is None


def test_a_failure_counts_a_rank_where_nothing_untrained_has_a_score(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN, untrained=None)
    arm(tmp_path, "hinge", HINGE, untrained=None)
    run(tmp_path, "hinge", 5, None, status="diverged", untrained=None, curve=())
    found = compared(tmp_path)
    one = line(arm_rows(found), "hinge")
    assert one.estimate is None, "there is no mean of what has no value"
    assert one.median == pytest.approx(np.median([*HINGE, 100.0]))
    assert one.against is not None
    assert one.against.p == pytest.approx(rank_test([*HINGE, 1e6], PLAIN))
    assert one.against.p == pytest.approx(stats.mannwhitneyu([*HINGE, 1e6], PLAIN, method="exact").pvalue)
    made = made_of(found)
    assert "worst rank" in str(made["table.md"])
    assert "∞" not in str(made["table.tex"]).split("survivors")[0].split("objective=hinge")[-1]
    assert made["seeds.png"][:4] == b"\x89PNG"


def test_pairs_with_an_imputed_value_are_tested_by_ranks(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN, shared=["labels"])
    arm(tmp_path, "hinge", HINGE[:4], shared=["labels"])
    run(tmp_path, "hinge", 4, None, status="diverged", shared=["labels"])
    pair = line(arm_rows(compared(tmp_path)), "hinge").against.paired  # pyright: ignore[reportOptionalMemberAccess]
    ranks = stats.rankdata([*HINGE[:4], UNTRAINED, *PLAIN])
    differences_of = ranks[:5] - ranks[5:]
    signs = np.array(list(product((-1, 1), repeat=5)))
    assert pair is not None
    assert pair.p == pytest.approx(np.mean(abs(signs @ differences_of) >= abs(differences_of.sum()) - 1e-9))


def test_arms_of_equal_runs_have_no_interval_no_g_and_no_detectable_difference(tmp_path: Path) -> None:
    """A count at its ceiling: 8 modes of 8 in every run say nothing of a spread."""
    arm(tmp_path, "nonsaturating", [7.0] * 4)
    arm(tmp_path, "hinge", [8.0] * 4)
    found = compared(tmp_path)
    one = line(arm_rows(found), "hinge")
    assert one.estimate is not None
    assert one.against is not None
    assert (one.estimate.interval, one.estimate.std_interval, one.against.g, one.against.detectable) == (None,) * 4
    assert one.against.p == pytest.approx(2 / 70), "the permutation test needs no spread"
    assert any("same value" in note for note in primary_sheet(found, arm_rows(found)).marks)


def test_an_arm_of_which_nothing_survived_says_none(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    for seed in range(5):
        run(tmp_path, "hinge", seed, None, status="diverged")
    found = arm_rows(compared(tmp_path))
    assert line(found, "hinge", survivors=True).estimate is None
    assert column(primary_sheet(compared(tmp_path), found), "mean")[-1] == "none"


def test_one_seed_is_stamped_and_has_no_interval(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", [7.0])
    found = compared(tmp_path)
    table = primary_sheet(found, arm_rows(found))
    assert column(table, "mean")[1] == "7 (n = 1)"
    assert column(table, "sd")[1] == ""
    assert column(table, "Hedges g")[1] == ""
    arm(tmp_path / "each", "nonsaturating", [10.0])
    arm(tmp_path / "each", "hinge", [7.0])
    each = compared(tmp_path / "each")
    assert column(primary_sheet(each, arm_rows(each)), "verdict")[1] == "1 seed cannot show a difference at this level"
    assert "Every arm: n = 1, so nothing is known of any spread." in overview_sentences(each)


def test_ten_runs_have_bca_and_iqm_and_fewer_have_the_reason_why_not(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(10, 1, 10).tolist()
    for objective in ("nonsaturating", "hinge"):
        arm(tmp_path, objective, values)
    found = compared(tmp_path)
    table = primary_sheet(found, arm_rows(found))
    assert order(table, "IQM")[0] == pytest.approx(stats.trim_mean(values, 0.25))
    assert not any("fewer" in note or "below 10" in note for note in table.notes)
    few = primary_sheet(small := compared_few(tmp_path / "few"), arm_rows(small))
    assert "IQM" not in few.columns
    assert any("No BCa interval and no interquartile mean below 10 runs" in note for note in few.notes)


def compared_few(outputs: Path) -> Comparison:
    arm(outputs, "nonsaturating", PLAIN)
    arm(outputs, "hinge", HINGE)
    return compared(outputs)


def test_pairs_are_tested_only_where_every_config_says_what_seeds_share(tmp_path: Path, outputs: Path) -> None:
    unpaired = arm_rows(compared(outputs))
    assert line(unpaired, "hinge").against.paired is None  # pyright: ignore[reportOptionalMemberAccess]
    arm(tmp_path / "s", "nonsaturating", PLAIN, shared=["labels"])
    arm(tmp_path / "s", "hinge", HINGE, shared=["labels"])
    found = compared(tmp_path / "s")
    pair = line(arm_rows(found), "hinge").against.paired  # pyright: ignore[reportOptionalMemberAccess]
    assert pair is not None
    assert (pair.p, pair.smallest_p) == (pytest.approx(2 / 32), pytest.approx(2 / 32))
    assert pair.correlation == pytest.approx(np.corrcoef(HINGE, PLAIN)[0, 1])
    table = primary_sheet(found, arm_rows(found))
    assert "paired p" in table.columns
    assert any("share labels" in note for note in table.notes)


def test_ranks_are_medians_over_seeds_and_failures_are_last(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [10.0, 11.0, 12.0])
    arm(tmp_path, "hinge", [9.0, 12.0, 11.0])
    run(tmp_path, "minimax", 0, 1.0, objective="minimax")
    for seed in (1, 2):
        run(tmp_path, "minimax", seed, None, status="diverged", objective="minimax")
    found = compared(tmp_path)
    ranks = median_ranks(found.arms, higher_is_better=False)
    assert ranks == {"objective=nonsaturating": 2, "objective=hinge": 2, "objective=minimax": 3}


# ----------------------------------------------------------------------------------------------------- beside the table


def test_secondary_sheets_are_marked_exploratory_and_say_what_flatters(outputs: Path) -> None:
    found = compared(outputs, reach=8.0)
    every = list(secondary_sheets(found))
    assert all(one.exploratory for one in every)
    assert not primary_sheet(found, arm_rows(found)).exploratory
    assert "flattered" in " ".join(sheet(found, "along the run").notes)
    assert "A failed run" not in " ".join(sheet(found, "along the run").notes)
    run(outputs, "hinge", 9, None, status="diverged", summary={"best": {KEY: {"value": 5.0}}})
    assert any("A failed run counts with its best" in note for note in sheet(compared(outputs), "along the run").notes)


def test_best_checkpoints_chosen_by_different_contracts_are_no_like_and_it_is_said(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN, summary={"chosen_by": chosen_by(5.0)})
    arm(tmp_path, "hinge", HINGE, summary={"chosen_by": chosen_by(5.0)})
    assert not any("contracts" in note for note in sheet(compared(tmp_path), "along the run").notes)
    run(tmp_path, "hinge", 5, 7.0, summary={"chosen_by": chosen_by(5.0, seed=1)})
    assert any("under 2 different contracts" in note for note in sheet(compared(tmp_path), "along the run").notes)


def test_the_area_of_a_failed_run_is_that_of_the_floor_and_has_no_interval(outputs: Path) -> None:
    before = order(sheet(compared(outputs), "along the run"), "area under the curve")[1]
    run(outputs, "hinge", 5, None, status="diverged", untrained=90.0)
    after = order(sheet(compared(outputs), "along the run"), "area under the curve")[1]
    assert after == pytest.approx((5 * before + UNTRAINED) / 6)  # pyright: ignore[reportOperatorIssue]
    assert "[" not in column(sheet(compared(outputs), "along the run"), "area under the curve")[1]


def test_time_to_a_quality_counts_a_run_that_never_gets_there_as_never(outputs: Path) -> None:
    table = sheet(compared(outputs, reach=8.0), "time to")
    assert column(table, "runs that reach it") == ["0/5", "3/5"]
    assert column(table, "images") == ["never", "1,000"] or column(table, "images") == ["never", "1000"]


def test_noise_of_the_evaluation_stands_beside_the_spread_of_runs_or_nobody_measured_it(
    outputs: Path,
) -> None:
    assert any("was not measured" in note for note in sheet(compared(outputs), "noise").notes)
    for seed, deviation in ((0, 0.3), (1, 0.4)):
        row = {"at": "last", "scores": {}, "uncertainty": {KEY: {"generations": deviation}}}
        (outputs / "hinge" / f"seed{seed}" / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
    table = sheet(compared(outputs), "noise")
    assert order(table, "sd of the measurement")[1] == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2))
    assert order(table, "share of variance")[1] == pytest.approx(0.125 / np.var(HINGE, ddof=1))


def test_compute_is_images_seconds_speed_hours_and_memory(outputs: Path) -> None:
    path = outputs / "hinge" / "seed0"
    (path / "provenance.json").write_text(json.dumps({"hardware": {"accelerators": ["a GPU"]}}))
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("device: cpu", "device: cuda"))
    table = sheet(compared(outputs), "compute")
    assert order(table, "images/s") == [100, 100]
    assert order(table, "accelerator hours") == [0, pytest.approx(10 / 3600)]
    assert order(table, "peak memory, MiB") == [500, 500]


def test_other_scores_are_of_the_runs_that_have_them(tmp_path: Path) -> None:
    score = {"value": 0.5, "std": None, "contract": contract(metric="coverage")}
    for objective in ("hinge", "nonsaturating"):
        arm(tmp_path, objective, [1.0, 2.0], others={"coverage_x": score})
    run(tmp_path, "hinge", 2, None, status="failed")
    table = sheet(compared(tmp_path), "other scores")
    assert column(table, "coverage_x") == ["0.5"] * 2
    assert any("flatters" in note for note in table.notes)


def test_every_config_difference_stands_in_the_report(tmp_path: Path) -> None:
    arm(tmp_path, "hinge", [1.0, 2.0], optimizer={"generator": {"lr": 1e-2}})
    arm(tmp_path, "nonsaturating", [1.0, 2.0])
    table = differences_sheet(compared(tmp_path))
    assert table.columns == ("key", "objective=nonsaturating", "objective=hinge")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows == {
        "objective": ["nonsaturating", "hinge"],
        "objective.generator._target_": [f"saddlepoint.objective.{o}.generator" for o in ("nonsaturating", "hinge")],
        "optimizer.generator.lr": ["0.001", "0.01"],
    }


# ------------------------------------------------------------------------------------------------- factors and searches


@pytest.fixture
def factors(tmp_path: Path) -> Path:
    """2^2 x 3 with main effects 4 and -2 and an interaction of 1."""
    for a, b in product(("off", "on"), repeat=2):
        for seed in range(3):
            x, y = (1 if side == "on" else -1 for side in (a, b))
            choice = {"data": "digits", "smoothing": a, "averaging": b}
            run(tmp_path, f"{a}{b}", seed, 20 + 2 * x - y + 0.5 * x * y + (seed - 1) / 10, choice=choice,
                optimizer={"generator": {"lr": (x, y)[0], "clip": y}})  # fmt: skip
    return tmp_path


def test_a_full_design_is_read_by_its_effects_and_no_cell_against_another(factors: Path) -> None:
    found = build_comparison(read_runs(factors), ComparisonOptions(by=("smoothing", "averaging")))
    assert is_factorial(found)
    effect = {one.factors: one.effect for one in design_effects(found)}
    assert effect[("smoothing",)] == pytest.approx(4)
    assert effect[("averaging",)] == pytest.approx(-2)
    assert effect[("smoothing", "averaging")] == pytest.approx(1)
    table = effects_sheet(found, design_effects(found))
    assert column(table, "effect of")[:2] == ["smoothing: off → on", "averaging: off → on"]
    assert column(table, "runs")[0] == "6 against 6"
    assert column(table, "Holm p")[2] == "exploratory"
    cells = primary_sheet(found, arm_rows(found))
    assert "verdict" not in cells.columns
    assert any("not compared with each other" in note for note in table.notes)


def test_a_design_with_a_hole_is_compared_arm_by_arm_and_refused_as_a_design(factors: Path) -> None:
    for path in factors.glob("onon/seed2/*.*"):
        path.unlink()
    found = build_comparison(read_runs(factors), ComparisonOptions(by=("smoothing", "averaging")))
    assert not is_factorial(found)
    assert all(one.against for one in arm_rows(found)[1:])
    with pytest.raises(Mistake):
        design_effects(
            build_comparison(read_runs(factors), ComparisonOptions(by=("smoothing", "averaging"), factorial=True))
        )


@pytest.fixture
def cross(tmp_path: Path) -> Path:
    """3 x 2 cells of 3 runs: an objective and a penalty, whose effects are known."""
    effect = {"nonsaturating": 0.0, "hinge": 3.0, "wasserstein": -2.0}
    for objective, penalty in product(effect, ("none", "r1")):
        gain = -5.0 - (4.0 if objective == "hinge" else 0.0)
        for seed in range(3):
            choice = {"data": "digits", "objective": objective, "penalty": penalty}
            final = 30 + effect[objective] + (gain if penalty == "r1" else 0.0) + (seed - 1) / 10
            run(
                tmp_path,
                f"{objective}-{penalty}",
                seed,
                final,
                objective=objective,
                choice=choice,
                weight=int(penalty != "none"),
            )
    return tmp_path


CROSS = {"by": ("objective", "penalty"), "baseline": ["nonsaturating", "none"]}


def test_a_factor_of_three_levels_has_two_effects_against_the_baseline_s(cross: Path) -> None:
    found = compared(cross, **CROSS)
    assert is_factorial(found), "a full design, of whatever numbers of levels"
    table = effects_sheet(found, design_effects(found))
    assert column(table, "effect of") == [
        "objective: nonsaturating → hinge", "objective: nonsaturating → wasserstein", "penalty: none → r1",
        "hinge x penalty", "wasserstein x penalty",
    ]  # fmt: skip
    assert order(table, "on the score") == pytest.approx([3 - 2, -2, -5 - 4 / 3, -2, 0])
    assert column(table, "runs")[:3] == ["6 against 6", "6 against 6", "9 against 9"]
    adjusted = order(table, "Holm p")[:3]
    assert adjusted[2] == pytest.approx(3 * order(table, "p")[2])  # pyright: ignore[reportOperatorIssue]
    assert any("over the 3 main effects" in note for note in table.notes)
    assert made_of(found)["effects.png"][:4] == b"\x89PNG"


def test_a_design_with_imputed_values_is_read_by_ranks(cross: Path) -> None:
    run(cross, "hinge-none", 3, None, status="diverged", objective="hinge", weight=0,
        choice={"data": "digits", "objective": "hinge", "penalty": "none"})  # fmt: skip
    shutil.rmtree(cross / "hinge-none" / "seed0")
    found = compared(cross, **CROSS)
    effect = design_effects(found)
    ranks = stats.rankdata(values := [value for one in found.arms for value in one.values])
    penalised = np.array(["r1" in one.name for one in found.arms for _ in one.values])
    assert max(values) == UNTRAINED
    (penalty,) = [one for one in effect if one.factors == ("penalty",)]
    assert penalty.effect == pytest.approx(ranks[penalised].mean() - ranks[~penalised].mean())
    assert all(one.interval is None for one in effect)
    assert [one.p is None for one in effect] == [False] * 3 + [True] * 2
    table = effects_sheet(found, effect)
    assert "on the rank" in table.columns
    assert any("have no t-interval" in note for note in table.notes)
    assert made_of(found)["effects.png"][:4] == b"\x89PNG"


def test_a_factor_that_does_not_vary_is_refused(outputs: Path) -> None:
    with pytest.raises(Mistake, match="data is digits in every arm"):
        design_effects(compared(outputs, by=("objective", "data"), factorial=True))


@pytest.fixture
def searches(tmp_path: Path) -> Path:
    """Two searches over the learning rate: the one with more trials is not better."""
    for objective, trials in (("nonsaturating", 4), ("hinge", 2)):
        for i in range(trials):
            run(tmp_path, f"{objective}{i}", 0, 10.0 + i, objective=objective,
                optimizer={"generator": {"lr": 10.0 ** -i / 3}},
                summary={"chosen_by": chosen_by(5.0 + i)})  # fmt: skip
    return tmp_path


def test_searches_are_read_at_equal_budgets(searches: Path) -> None:
    asked = {"over": ("optimizer.generator.lr",), "tuning": True}
    found = compared(searches, **asked)
    table = budget_sheet(found)
    assert order(table, "k") == [1, 2], "as far as the smaller search goes"
    assert order(table, "objective=nonsaturating")[0] == pytest.approx(11.5), "one draw: the mean"
    assert order(table, "objective=hinge")[1] == pytest.approx(10 * 3 / 4 + 11 / 4), "of two draws, 3 in 4"
    assert all(one.against is None for one in arm_rows(found))


def test_a_failed_run_of_a_search_is_chosen_only_where_nothing_else_is_there(searches: Path) -> None:
    run(searches, "failed", 0, None, status="diverged", objective="hinge", optimizer={"generator": {"lr": 9.0}},
        summary={"chosen_by": chosen_by(0.0)})  # fmt: skip
    table = budget_sheet(compared(searches, over=("optimizer.generator.lr",), tuning=True))
    third = 19 / 27 * 10 + 7 / 27 * 11 + 1 / 27 * 100
    assert order(table, "objective=hinge")[2] == pytest.approx(third), "chosen last, though its checkpoint was best"


def test_a_search_whose_runs_nobody_chose_between_is_refused(searches: Path) -> None:
    run(searches, "more", 1, 10.0, objective="hinge")
    with pytest.raises(Mistake, match=r"more/seed1 has no validation score"):
        budget_sheet(compared(searches, over=("optimizer.generator.lr",), tuning=True))
    with pytest.raises(Mistake, match="what did the searches vary"):
        budget_sheet(compared_few(searches / "few"))


def test_the_best_of_k_is_the_one_that_the_choosing_score_calls_best(tmp_path: Path) -> None:
    """Coverage is reported, where high is good, and FID chooses, where low is: the best coverage has the lowest FID."""
    key = "coverage_digits_900_train"
    for objective in ("nonsaturating", "hinge"):
        for i, (coverage, fid) in enumerate(((0.0561, 30.0), (0.07, 20.0), (0.0952, 10.0))):
            run(tmp_path, f"{objective}{i}", 0, coverage, objective=objective, key=key, untrained=0.0,
                measured={"metric": "coverage"}, optimizer={"generator": {"lr": 10.0**-i / 3}},
                summary={"chosen_by": chosen_by(fid)})  # fmt: skip
    found = compared(tmp_path, metric=key, over=("optimizer.generator.lr",), tuning=True)
    table = budget_sheet(found)
    best_of_3 = 0.0952 * (1 - (2 / 3) ** 3) + 0.07 * ((2 / 3) ** 3 - (1 / 3) ** 3) + 0.0561 / 27
    assert order(table, "objective=hinge")[2] == pytest.approx(best_of_3)
    assert any("Chosen by fid_digits_450_validation: lower is better." in note for note in table.notes)


def test_searches_chosen_by_different_contracts_are_refused_and_the_field_is_named(searches: Path) -> None:
    run(searches, "hinge9", 0, 10.0, objective="hinge", optimizer={"generator": {"lr": 9.0}},
        summary={"chosen_by": chosen_by(5.0, settings={"k": 3})})  # fmt: skip
    with pytest.raises(Mistake, match=r"chosen by different scores: settings\.k is None there and 3 here"):
        budget_sheet(compared(searches, over=("optimizer.generator.lr",), tuning=True))


def test_a_choosing_score_whose_direction_nobody_knows_is_refused(tmp_path: Path) -> None:
    for objective in ("nonsaturating", "hinge"):
        for i in range(2):
            run(tmp_path, f"{objective}{i}", 0, 10.0 + i, objective=objective,
                optimizer={"generator": {"lr": 10.0**-i / 3}},
                summary={"chosen_by": chosen_by(5.0, metric="mine")})  # fmt: skip
    with pytest.raises(Mistake, match="nobody knows whether a high mine is good"):
        budget_sheet(compared(tmp_path, over=("optimizer.generator.lr",), tuning=True))


def test_nothing_is_expected_of_a_search_that_may_end_in_a_run_without_a_score(tmp_path: Path) -> None:
    for objective in ("nonsaturating", "hinge"):
        for i in range(2):
            run(tmp_path, f"{objective}{i}", 0, 10.0 + i, objective=objective, untrained=None,
                optimizer={"generator": {"lr": 10.0**-i / 3}}, summary={"chosen_by": chosen_by(5.0 + i)})  # fmt: skip
    run(tmp_path, "failed", 0, None, status="diverged", objective="hinge", untrained=None, curve=(),
        optimizer={"generator": {"lr": 9.0}})  # fmt: skip
    table = budget_sheet(compared(tmp_path, over=("optimizer.generator.lr",), tuning=True))
    assert column(table, "objective=hinge") == ["∞", "∞"]
    assert column(table, "objective=nonsaturating") == ["10.5", "10.25"]
    assert any("nothing can be expected" in note for note in table.notes)


# -------------------------------------------------------------------------------------------------------------- outside


def made_of(found: Comparison) -> dict[str, str | bytes]:
    return report_files(found, arm_rows(found), build_report(found, arm_rows(found), {}))


def test_the_table_for_programs_holds_every_number_unrounded(outputs: Path) -> None:
    run(outputs, "hinge", 5, None, status="diverged", untrained=90.0)
    found = compared(outputs)
    made = made_of(found)
    rows = list(csv.DictReader(io.StringIO(str(made["table.csv"]))))
    hinge = next(row for row in rows if row["arm"] == "objective=hinge" and row["rows"] == "all")
    one = line(arm_rows(found), "hinge")
    assert one.against is not None
    assert float(hinge["p"]) == one.against.p
    assert float(hinge["mean"]) == pytest.approx(np.mean([*HINGE, UNTRAINED]), rel=1e-15)
    each = list(csv.DictReader(io.StringIO(str(made["runs.csv"]))))
    assert len(each) == 11
    assert {row["outcome"] for row in each} == {"finished", "diverged"}


def test_a_report_has_every_file_and_drawing(outputs: Path) -> None:
    found = compared(outputs)
    made = made_of(found)
    assert {"table.md", "table.tex", "table.csv", "runs.csv", "seeds.png", "curves.png", "report.html"} <= set(made)
    assert "objective=hinge" in str(made["table.md"])
    assert r"\toprule" in str(made["table.tex"])
    assert made["seeds.png"][:4] == b"\x89PNG"


@pytest.mark.parametrize("width", [60, 100, 240])
def test_no_cell_is_lost_on_a_narrow_terminal(outputs: Path, width: int) -> None:
    found = compared(outputs)
    table = primary_sheet(found, arm_rows(found))
    console = Console(file=io.StringIO(), width=width)
    for part in terminal_tables(table, width):
        console.print(part, markup=False, highlight=False)
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(len(row) <= width for row in shown.splitlines())
    for name in table.columns:
        assert all(text in shown for text in [name, *(column(table, name) if name != "arm" else [])])


def test_a_note_of_a_cell_is_found_from_the_cell_on_a_terminal(outputs: Path) -> None:
    run(outputs, "hinge", 5, None, status="diverged")
    found = compared(outputs)
    console = Console(file=io.StringIO(), width=200)
    for part in terminal_tables(primary_sheet(found, arm_rows(found)), 200):
        console.print(part, markup=False, highlight=False)
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "23.42 (a)" in shown
    assert "a: 1 of 6 values is imputed" in shown


def test_a_folder_is_whole_or_what_it_was(tmp_path: Path) -> None:
    to = tmp_path / "comparison"
    write_comparison(to, {"report.html": "one", "old.png": b"x"})
    (to / "wandb").mkdir()
    with pytest.raises(TypeError):
        write_comparison(to, {"report.html": "two", "bad": 3})  # pyright: ignore[reportArgumentType]
    assert (to / "report.html").read_text() == "one"
    write_comparison(to, {"report.html": "two"})
    assert sorted(path.name for path in to.iterdir()) == ["report.html", "wandb"]
    assert [path.name for path in tmp_path.iterdir()] == ["comparison"]


def test_a_folder_that_is_no_comparison_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(Mistake, match="holds no comparison"):
        write_comparison(tmp_path, {"report.html": ""})
    assert (tmp_path / "thesis.tex").exists()


def test_drawings_of_many_arms_show_the_baseline_and_the_best(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [500.0, 501.0])
    for i in range(30):
        arm(tmp_path, f"o{i:02d}", [50.0 - i, 51.0 - i])
    shown = [one.name for one in plotted_arms(compared(tmp_path))]
    assert shown == ["objective=nonsaturating", *(f"objective=o{i:02d}" for i in range(7, 30))]


def test_numbers_and_runs_have_a_cell_for_every_column(outputs: Path) -> None:
    found = compared(outputs)
    assert len(numbers_sheet(arm_rows(found)).rows) == 2
    assert column(runs_sheet(found), "seed") == [str(seed) for seed in range(5)] * 2
