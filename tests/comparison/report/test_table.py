"""Arms become sheets: differences, detectable differences, cost; and the files of the report."""

from __future__ import annotations

import csv
import io
import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import KEY, UNTRAINED, arm, chosen_by, contract, run
from rich.console import Console
from scipy import stats

from saddlepoint.comparison.arms.comparison import Comparison, ComparisonOptions, build_comparison
from saddlepoint.comparison.arms.record import load_records
from saddlepoint.comparison.report import plot
from saddlepoint.comparison.report.budget import budget_sheet
from saddlepoint.comparison.report.build_report import (
    build_report,
    plotted_arms,
    report_file_contents,
    write_comparison,
)
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


def compare(outputs: Path, **options: object) -> Comparison:
    arguments = {"by": ("objective",), "metric": KEY, "baseline": "nonsaturating", **options}
    return build_comparison(load_records(outputs), ComparisonOptions(**arguments))  # pyright: ignore[reportArgumentType]


def find_row(rows: list[ArmRow], arm: str, survivors: bool = False) -> ArmRow:
    return next(one for one in rows if one.arm == f"objective={arm}" and one.survivors_only == survivors)


def column(sheet: Sheet, name: str) -> list[str]:
    return [row[sheet.columns.index(name)].text for row in sheet.rows]


def sort_keys(sheet: Sheet, name: str) -> list[object]:
    return [row[sheet.columns.index(name)].sort_key for row in sheet.rows]


def sheet(comparison: Comparison, title: str) -> Sheet:
    return next(one for one in secondary_sheets(comparison) if title in one.title)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", HINGE)
    return tmp_path


# ------------------------------------------------------------------------------------------------ against the baseline


def test_the_difference_from_the_baseline_is_that_of_scipy(outputs: Path) -> None:
    one = find_row(arm_rows(compare(outputs)), "hinge")
    assert one.difference is not None
    assert one.difference.p == pytest.approx(
        stats.permutation_test(
            (HINGE, PLAIN), lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis), n_resamples=np.inf
        ).pvalue  # pyright: ignore[reportAttributeAccessIssue]
    )
    assert one.difference.smallest_p == pytest.approx(2 / 252)
    assert one.difference.holm_p == one.difference.p, "a family of one"
    assert one.difference.g is not None
    assert one.difference.g < 0, "hinge minus the baseline, whose scores are higher"
    assert one.difference.verdict == "differs"
    interval = stats.ttest_1samp(HINGE, 0).confidence_interval(0.95)
    assert one.estimate is not None
    assert one.estimate.interval is not None
    assert (one.estimate.interval.low, one.estimate.interval.high) == pytest.approx((interval.low, interval.high))


def test_three_seeds_cannot_show_a_difference_of_any_size(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [50.0, 51.0, 52.0])
    arm(tmp_path, "hinge", [1.0, 2.0, 3.0])
    one = find_row(arm_rows(compare(tmp_path)), "hinge").difference
    assert one is not None
    assert (one.p, one.smallest_p) == (pytest.approx(0.1), pytest.approx(0.1))
    assert "3 seeds cannot show" in one.verdict
    assert one.detectable == np.inf


def test_the_family_is_every_arm_except_the_baseline(outputs: Path) -> None:
    for objective in ("minimax", "wasserstein"):
        arm(outputs, objective, HINGE)
    rows = arm_rows(compare(outputs))
    for name in ("hinge", "minimax", "wasserstein"):
        one = find_row(rows, name).difference
        assert one is not None
        assert one.holm_p == pytest.approx(3 * one.p)
    assert find_row(rows, "nonsaturating").difference is None


def test_a_failure_counts_its_rate_has_an_interval_and_survivors_have_a_separate_row(outputs: Path) -> None:
    run(outputs, "hinge", 5, None, status="diverged", untrained=90.0)
    rows = arm_rows(compare(outputs))
    complete, survivors = find_row(rows, "hinge"), find_row(rows, "hinge", survivors=True)
    assert complete.estimate is not None
    assert survivors.estimate is not None
    assert complete.estimate.mean == pytest.approx(np.mean([*HINGE, UNTRAINED]))
    assert (complete.estimate.std, complete.estimate.interval, complete.bca) == (None, None, None), (
        "an imputed value has none"
    )
    assert survivors.estimate.interval is not None, "measured values have one"
    assert (survivors.estimate.n, survivors.estimate.mean) == (5, pytest.approx(np.mean(HINGE)))
    assert survivors.difference is None, "survivors are a biased sample"
    exact = stats.binomtest(1, 6).proportion_ci(method="exact")
    assert (complete.failure_rate.low, complete.failure_rate.high) == pytest.approx((exact.low, exact.high))
    table = primary_sheet(compare(outputs), rows)
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
    comparison = compare(outputs)
    one = find_row(arm_rows(comparison), "hinge").difference
    assert one is not None
    assert (one.g, one.g_interval, one.detectable, one.detectable_interval) == (None, None, None, None)
    assert one.uses_ranks
    assert one.p == pytest.approx(rank_test([*HINGE, 1e6, 1e6], PLAIN)), "exact, by ranks, with the two failures tied"
    table = primary_sheet(comparison, arm_rows(comparison))
    assert column(table, "mean")[1] == "34.36", "without an interval"
    assert column(table, "sd")[1] == column(table, "Hedges g")[1] == column(table, "detectable")[1] == ""
    assert column(table, "rank")[1] != ""
    assert any("test uses ranks" in note for note in table.notes)
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(str(make_files(comparison)["table.csv"])))
        if float(row["imputed"]) == 2
    ]
    for name in ("mean_low", "mean_high", "sd", "sd_low", "hedges_g", "detectable", "mean_bca_low", "iqm"):
        assert row[name] == ""
    assert row["p_of"] == "ranks"


def test_the_direction_of_a_difference_is_that_of_the_tested_ranks(tmp_path: Path) -> None:
    """All runs of one arm and most of the other failed: both medians are the floor, and the ranks differ."""
    for seed in range(11):
        run(tmp_path, "nonsaturating", seed, None, status="diverged", objective="nonsaturating")
        final = 10.0 + seed if seed < 5 else None
        run(tmp_path, "hinge", seed, final, status="diverged" if final is None else "finished")
    comparison = compare(tmp_path)
    one = find_row(arm_rows(comparison), "hinge")
    assert one.median == UNTRAINED
    assert one.difference is not None
    assert one.difference.verdict == "differs"
    assert relation_to_baseline(comparison, one.difference) == "better"


def test_failures_of_the_baseline_make_every_comparison_use_ranks(outputs: Path) -> None:
    run(outputs, "nonsaturating", 5, None, status="diverged", objective="nonsaturating")
    arm(outputs, "minimax", PLAIN)
    rows = arm_rows(compare(outputs))
    for name in ("hinge", "minimax"):
        one = find_row(rows, name).difference
        assert one is not None
        assert one.uses_ranks
        assert one.g is None


def test_a_failure_has_the_worst_rank_if_no_untrained_generator_has_a_score(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN, untrained=None)
    arm(tmp_path, "hinge", HINGE, untrained=None)
    run(tmp_path, "hinge", 5, None, status="diverged", untrained=None, curve=())
    comparison = compare(tmp_path)
    one = find_row(arm_rows(comparison), "hinge")
    assert one.estimate is None, "an infinite value has no mean"
    assert one.median == pytest.approx(np.median([*HINGE, 100.0]))
    assert one.difference is not None
    assert one.difference.p == pytest.approx(rank_test([*HINGE, 1e6], PLAIN))
    assert one.difference.p == pytest.approx(stats.mannwhitneyu([*HINGE, 1e6], PLAIN, method="exact").pvalue)
    files = make_files(comparison)
    assert "worst rank" in str(files["table.md"])
    assert "∞" not in str(files["table.tex"]).split("survivors")[0].split("objective=hinge")[-1]
    assert files["seeds.png"][:4] == b"\x89PNG"


def test_pairs_with_an_imputed_value_are_tested_by_ranks(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN, shared=["labels"])
    arm(tmp_path, "hinge", HINGE[:4], shared=["labels"])
    run(tmp_path, "hinge", 4, None, status="diverged", shared=["labels"])
    pair = find_row(arm_rows(compare(tmp_path)), "hinge").difference.paired  # pyright: ignore[reportOptionalMemberAccess]
    ranks = stats.rankdata([*HINGE[:4], UNTRAINED, *PLAIN])
    differences_of = ranks[:5] - ranks[5:]
    signs = np.array(list(product((-1, 1), repeat=5)))
    assert pair is not None
    assert pair.p == pytest.approx(np.mean(abs(signs @ differences_of) >= abs(differences_of.sum()) - 1e-9))


def test_arms_of_equal_runs_have_no_interval_no_g_and_no_detectable_difference(tmp_path: Path) -> None:
    """A count at its maximum: 8 modes of 8 in every run do not show the spread."""
    arm(tmp_path, "nonsaturating", [7.0] * 4)
    arm(tmp_path, "hinge", [8.0] * 4)
    comparison = compare(tmp_path)
    one = find_row(arm_rows(comparison), "hinge")
    assert one.estimate is not None
    assert one.difference is not None
    assert (one.estimate.interval, one.estimate.std_interval, one.difference.g, one.difference.detectable) == (
        None,
    ) * 4
    assert one.difference.p == pytest.approx(2 / 70), "the permutation test needs no spread"
    assert any("same value" in note for note in primary_sheet(comparison, arm_rows(comparison)).note_letters)


def test_an_arm_without_survivors_has_no_mean(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    for seed in range(5):
        run(tmp_path, "hinge", seed, None, status="diverged")
    rows = arm_rows(compare(tmp_path))
    assert find_row(rows, "hinge", survivors=True).estimate is None
    assert column(primary_sheet(compare(tmp_path), rows), "mean")[-1] == "none"


def test_one_seed_is_marked_and_has_no_interval(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", [7.0])
    comparison = compare(tmp_path)
    table = primary_sheet(comparison, arm_rows(comparison))
    assert column(table, "mean")[1] == "7 (n = 1)"
    assert column(table, "sd")[1] == ""
    assert column(table, "Hedges g")[1] == ""
    arm(tmp_path / "each", "nonsaturating", [10.0])
    arm(tmp_path / "each", "hinge", [7.0])
    each = compare(tmp_path / "each")
    assert column(primary_sheet(each, arm_rows(each)), "verdict")[1] == "1 seed cannot show a difference at this level"
    assert "Every arm: n = 1, so no spread is known." in overview_sentences(each)


def test_ten_runs_have_bca_and_iqm_and_fewer_have_a_note(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(10, 1, 10).tolist()
    for objective in ("nonsaturating", "hinge"):
        arm(tmp_path, objective, values)
    comparison = compare(tmp_path)
    table = primary_sheet(comparison, arm_rows(comparison))
    assert sort_keys(table, "IQM")[0] == pytest.approx(stats.trim_mean(values, 0.25))
    assert not any("fewer" in note or "below 10" in note for note in table.notes)
    few = primary_sheet(small := compare_few(tmp_path / "few"), arm_rows(small))
    assert "IQM" not in few.columns
    assert any("No BCa interval and no interquartile mean below 10 runs" in note for note in few.notes)


def compare_few(outputs: Path) -> Comparison:
    arm(outputs, "nonsaturating", PLAIN)
    arm(outputs, "hinge", HINGE)
    return compare(outputs)


def test_pairs_are_tested_only_if_every_config_declares_what_seeds_share(tmp_path: Path, outputs: Path) -> None:
    unpaired = arm_rows(compare(outputs))
    assert find_row(unpaired, "hinge").difference.paired is None  # pyright: ignore[reportOptionalMemberAccess]
    arm(tmp_path / "s", "nonsaturating", PLAIN, shared=["labels"])
    arm(tmp_path / "s", "hinge", HINGE, shared=["labels"])
    comparison = compare(tmp_path / "s")
    pair = find_row(arm_rows(comparison), "hinge").difference.paired  # pyright: ignore[reportOptionalMemberAccess]
    assert pair is not None
    assert (pair.p, pair.smallest_p) == (pytest.approx(2 / 32), pytest.approx(2 / 32))
    assert pair.correlation == pytest.approx(np.corrcoef(HINGE, PLAIN)[0, 1])
    table = primary_sheet(comparison, arm_rows(comparison))
    assert "paired p" in table.columns
    assert any("share labels" in note for note in table.notes)


def test_ranks_are_medians_over_seeds_and_failures_are_last(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [10.0, 11.0, 12.0])
    arm(tmp_path, "hinge", [9.0, 12.0, 11.0])
    run(tmp_path, "minimax", 0, 1.0, objective="minimax")
    for seed in (1, 2):
        run(tmp_path, "minimax", seed, None, status="diverged", objective="minimax")
    comparison = compare(tmp_path)
    ranks = median_ranks(comparison.arms, higher_is_better=False)
    assert ranks == {"objective=nonsaturating": 2, "objective=hinge": 2, "objective=minimax": 3}


# --------------------------------------------------------------------------------------------------- secondary sheets


def test_secondary_sheets_are_exploratory_and_note_their_bias(outputs: Path) -> None:
    comparison = compare(outputs, reach=8.0)
    every = list(secondary_sheets(comparison))
    assert all(one.exploratory for one in every)
    assert not primary_sheet(comparison, arm_rows(comparison)).exploratory
    assert "biased" in " ".join(sheet(comparison, "along the run").notes)
    assert "A failed run" not in " ".join(sheet(comparison, "along the run").notes)
    run(outputs, "hinge", 9, None, status="diverged", summary={"best": {KEY: {"value": 5.0}}})
    assert any("A failed run counts with its best" in note for note in sheet(compare(outputs), "along the run").notes)


def test_best_checkpoints_selected_under_different_contracts_have_a_note(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN, summary={"chosen_by": chosen_by(5.0)})
    arm(tmp_path, "hinge", HINGE, summary={"chosen_by": chosen_by(5.0)})
    assert not any("contracts" in note for note in sheet(compare(tmp_path), "along the run").notes)
    run(tmp_path, "hinge", 5, 7.0, summary={"chosen_by": chosen_by(5.0, seed=1)})
    assert any("under 2 different contracts" in note for note in sheet(compare(tmp_path), "along the run").notes)


def test_the_area_of_a_failed_run_is_the_floor_and_has_no_interval(outputs: Path) -> None:
    before = sort_keys(sheet(compare(outputs), "along the run"), "area under the curve")[1]
    run(outputs, "hinge", 5, None, status="diverged", untrained=90.0)
    after = sort_keys(sheet(compare(outputs), "along the run"), "area under the curve")[1]
    assert after == pytest.approx((5 * before + UNTRAINED) / 6)  # pyright: ignore[reportOperatorIssue]
    assert "[" not in column(sheet(compare(outputs), "along the run"), "area under the curve")[1]


def test_time_to_a_quality_counts_a_run_that_does_not_reach_it_as_never(outputs: Path) -> None:
    table = sheet(compare(outputs, reach=8.0), "time to")
    assert column(table, "runs that reach it") == ["0/5", "3/5"]
    assert column(table, "images") == ["never", "1,000"] or column(table, "images") == ["never", "1000"]


def test_evaluation_noise_is_compared_with_the_spread_of_runs_if_it_was_measured(
    outputs: Path,
) -> None:
    assert any("was not measured" in note for note in sheet(compare(outputs), "noise").notes)
    for seed, deviation in ((0, 0.3), (1, 0.4)):
        row = {"at": "last", "scores": {}, "uncertainty": {KEY: {"generations": deviation}}}
        (outputs / "hinge" / f"seed{seed}" / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
    table = sheet(compare(outputs), "noise")
    assert sort_keys(table, "sd of the measurement")[1] == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2))
    assert sort_keys(table, "share of variance")[1] == pytest.approx(0.125 / np.var(HINGE, ddof=1))


def test_cost_is_images_seconds_speed_hours_and_memory(outputs: Path) -> None:
    path = outputs / "hinge" / "seed0"
    (path / "provenance.json").write_text(json.dumps({"hardware": {"accelerators": ["a GPU"]}}))
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("device: cpu", "device: cuda"))
    table = sheet(compare(outputs), "compute")
    assert sort_keys(table, "images/s") == [100, 100]
    assert sort_keys(table, "accelerator hours") == [0, pytest.approx(10 / 3600)]
    assert sort_keys(table, "peak memory, MiB") == [500, 500]


def test_other_scores_are_of_the_runs_that_have_them(tmp_path: Path) -> None:
    score = {"value": 0.5, "std": None, "contract": contract(metric="coverage")}
    for objective in ("hinge", "nonsaturating"):
        arm(tmp_path, objective, [1.0, 2.0], others={"coverage_x": score})
    run(tmp_path, "hinge", 2, None, status="failed")
    table = sheet(compare(tmp_path), "other scores")
    assert column(table, "coverage_x") == ["0.5"] * 2
    assert any("biased" in note for note in table.notes)


def test_every_config_difference_is_in_the_report(tmp_path: Path) -> None:
    arm(tmp_path, "hinge", [1.0, 2.0], optimizer={"generator": {"lr": 1e-2}})
    arm(tmp_path, "nonsaturating", [1.0, 2.0])
    table = differences_sheet(compare(tmp_path))
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


def test_a_full_design_is_analysed_by_effects_and_not_cell_by_cell(factors: Path) -> None:
    comparison = build_comparison(load_records(factors), ComparisonOptions(by=("smoothing", "averaging")))
    assert is_factorial(comparison)
    effect = {one.factors: one.effect for one in design_effects(comparison)}
    assert effect[("smoothing",)] == pytest.approx(4)
    assert effect[("averaging",)] == pytest.approx(-2)
    assert effect[("smoothing", "averaging")] == pytest.approx(1)
    table = effects_sheet(comparison, design_effects(comparison))
    assert column(table, "effect of")[:2] == ["smoothing: off → on", "averaging: off → on"]
    assert column(table, "runs")[0] == "6 against 6"
    assert column(table, "Holm p")[2] == "exploratory"
    cells = primary_sheet(comparison, arm_rows(comparison))
    assert "verdict" not in cells.columns
    assert any("not compared with each other" in note for note in table.notes)


def test_an_incomplete_design_is_compared_arm_by_arm_and_refused_as_a_design(factors: Path) -> None:
    for path in factors.glob("onon/seed2/*.*"):
        path.unlink()
    comparison = build_comparison(load_records(factors), ComparisonOptions(by=("smoothing", "averaging")))
    assert not is_factorial(comparison)
    assert all(one.difference for one in arm_rows(comparison)[1:])
    with pytest.raises(Mistake):
        design_effects(
            build_comparison(load_records(factors), ComparisonOptions(by=("smoothing", "averaging"), factorial=True))
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


def test_a_factor_of_three_levels_has_two_effects_against_the_baseline_level(cross: Path) -> None:
    comparison = compare(cross, **CROSS)
    assert is_factorial(comparison), "a full design, with any numbers of levels"
    table = effects_sheet(comparison, design_effects(comparison))
    assert column(table, "effect of") == [
        "objective: nonsaturating → hinge", "objective: nonsaturating → wasserstein", "penalty: none → r1",
        "hinge x penalty", "wasserstein x penalty",
    ]  # fmt: skip
    assert sort_keys(table, "on the score") == pytest.approx([3 - 2, -2, -5 - 4 / 3, -2, 0])
    assert column(table, "runs")[:3] == ["6 against 6", "6 against 6", "9 against 9"]
    adjusted = sort_keys(table, "Holm p")[:3]
    assert adjusted[2] == pytest.approx(3 * sort_keys(table, "p")[2])  # pyright: ignore[reportOperatorIssue]
    assert any("over the 3 main effects" in note for note in table.notes)
    assert make_files(comparison)["effects.png"][:4] == b"\x89PNG"


def test_a_design_with_imputed_values_uses_ranks(cross: Path) -> None:
    run(cross, "hinge-none", 3, None, status="diverged", objective="hinge", weight=0,
        choice={"data": "digits", "objective": "hinge", "penalty": "none"})  # fmt: skip
    shutil.rmtree(cross / "hinge-none" / "seed0")
    comparison = compare(cross, **CROSS)
    effect = design_effects(comparison)
    ranks = stats.rankdata(values := [value for one in comparison.arms for value in one.values])
    penalised = np.array(["r1" in one.name for one in comparison.arms for _ in one.values])
    assert max(values) == UNTRAINED
    (penalty,) = [one for one in effect if one.factors == ("penalty",)]
    assert penalty.effect == pytest.approx(ranks[penalised].mean() - ranks[~penalised].mean())
    assert all(one.interval is None for one in effect)
    assert [one.p is None for one in effect] == [False] * 3 + [True] * 2
    table = effects_sheet(comparison, effect)
    assert "on the rank" in table.columns
    assert any("have no t-interval" in note for note in table.notes)
    assert make_files(comparison)["effects.png"][:4] == b"\x89PNG"


def test_a_factor_that_does_not_vary_is_refused(outputs: Path) -> None:
    with pytest.raises(Mistake, match="data is digits in every arm"):
        design_effects(compare(outputs, by=("objective", "data"), factorial=True))


@pytest.fixture
def searches(tmp_path: Path) -> Path:
    """Two searches over the learning rate: the one with more trials is not better."""
    for objective, trials in (("nonsaturating", 4), ("hinge", 2)):
        for i in range(trials):
            run(tmp_path, f"{objective}{i}", 0, 10.0 + i, objective=objective,
                optimizer={"generator": {"lr": 10.0 ** -i / 3}},
                summary={"chosen_by": chosen_by(5.0 + i)})  # fmt: skip
    return tmp_path


def test_searches_are_compared_at_equal_budgets(searches: Path) -> None:
    options = {"over": ("optimizer.generator.lr",), "tuning": True}
    comparison = compare(searches, **options)
    table = budget_sheet(comparison)
    assert sort_keys(table, "k") == [1, 2], "up to the size of the smaller search"
    assert sort_keys(table, "objective=nonsaturating")[0] == pytest.approx(11.5), "one draw: the mean"
    assert sort_keys(table, "objective=hinge")[1] == pytest.approx(10 * 3 / 4 + 11 / 4), "of two draws, 3 in 4"
    assert all(one.difference is None for one in arm_rows(comparison))


def test_a_failed_run_of_a_search_is_selected_only_if_all_drawn_runs_failed(searches: Path) -> None:
    run(searches, "failed", 0, None, status="diverged", objective="hinge", optimizer={"generator": {"lr": 9.0}},
        summary={"chosen_by": chosen_by(0.0)})  # fmt: skip
    table = budget_sheet(compare(searches, over=("optimizer.generator.lr",), tuning=True))
    third = 19 / 27 * 10 + 7 / 27 * 11 + 1 / 27 * 100
    assert sort_keys(table, "objective=hinge")[2] == pytest.approx(third), (
        "selected last, although its checkpoint was best"
    )


def test_a_search_without_selection_scores_is_refused(searches: Path) -> None:
    run(searches, "more", 1, 10.0, objective="hinge")
    with pytest.raises(Mistake, match=r"more/seed1 has no validation score"):
        budget_sheet(compare(searches, over=("optimizer.generator.lr",), tuning=True))
    with pytest.raises(Mistake, match="needs the keys that the searches varied"):
        budget_sheet(compare_few(searches / "few"))


def test_the_best_of_k_is_that_of_the_selection_score(tmp_path: Path) -> None:
    """Coverage (higher is better) is reported, FID (lower is better) selects: the best coverage has the lowest FID."""
    key = "coverage_digits_900_train"
    for objective in ("nonsaturating", "hinge"):
        for i, (coverage, fid) in enumerate(((0.0561, 30.0), (0.07, 20.0), (0.0952, 10.0))):
            run(tmp_path, f"{objective}{i}", 0, coverage, objective=objective, key=key, untrained=0.0,
                measured={"metric": "coverage"}, optimizer={"generator": {"lr": 10.0**-i / 3}},
                summary={"chosen_by": chosen_by(fid)})  # fmt: skip
    comparison = compare(tmp_path, metric=key, over=("optimizer.generator.lr",), tuning=True)
    table = budget_sheet(comparison)
    best_of_3 = 0.0952 * (1 - (2 / 3) ** 3) + 0.07 * ((2 / 3) ** 3 - (1 / 3) ** 3) + 0.0561 / 27
    assert sort_keys(table, "objective=hinge")[2] == pytest.approx(best_of_3)
    assert any("Selected by fid_digits_450_validation: lower is better." in note for note in table.notes)


def test_searches_selected_under_different_contracts_are_refused_with_the_field(searches: Path) -> None:
    run(searches, "hinge9", 0, 10.0, objective="hinge", optimizer={"generator": {"lr": 9.0}},
        summary={"chosen_by": chosen_by(5.0, settings={"k": 3})})  # fmt: skip
    with pytest.raises(Mistake, match=r"selected by different scores: settings\.k is None there and 3 here"):
        budget_sheet(compare(searches, over=("optimizer.generator.lr",), tuning=True))


def test_a_selection_score_of_unknown_direction_is_refused(tmp_path: Path) -> None:
    for objective in ("nonsaturating", "hinge"):
        for i in range(2):
            run(tmp_path, f"{objective}{i}", 0, 10.0 + i, objective=objective,
                optimizer={"generator": {"lr": 10.0**-i / 3}},
                summary={"chosen_by": chosen_by(5.0, metric="mine")})  # fmt: skip
    with pytest.raises(Mistake, match="the direction of mine is unknown"):
        budget_sheet(compare(tmp_path, over=("optimizer.generator.lr",), tuning=True))


def test_the_expectation_is_infinite_if_a_run_without_a_score_may_be_selected(tmp_path: Path) -> None:
    for objective in ("nonsaturating", "hinge"):
        for i in range(2):
            run(tmp_path, f"{objective}{i}", 0, 10.0 + i, objective=objective, untrained=None,
                optimizer={"generator": {"lr": 10.0**-i / 3}}, summary={"chosen_by": chosen_by(5.0 + i)})  # fmt: skip
    run(tmp_path, "failed", 0, None, status="diverged", objective="hinge", untrained=None, curve=(),
        optimizer={"generator": {"lr": 9.0}})  # fmt: skip
    table = budget_sheet(compare(tmp_path, over=("optimizer.generator.lr",), tuning=True))
    assert column(table, "objective=hinge") == ["∞", "∞"]
    assert column(table, "objective=nonsaturating") == ["10.5", "10.25"]
    assert any("the expectation is infinite" in note for note in table.notes)


# ---------------------------------------------------------------------------------------------------------------- files


def make_files(comparison: Comparison) -> dict[str, str | bytes]:
    return report_file_contents(comparison, arm_rows(comparison), build_report(comparison, arm_rows(comparison), {}))


def test_the_table_for_programs_holds_every_number_unrounded(outputs: Path) -> None:
    run(outputs, "hinge", 5, None, status="diverged", untrained=90.0)
    comparison = compare(outputs)
    files = make_files(comparison)
    rows = list(csv.DictReader(io.StringIO(str(files["table.csv"]))))
    hinge = next(row for row in rows if row["arm"] == "objective=hinge" and row["rows"] == "all")
    one = find_row(arm_rows(comparison), "hinge")
    assert one.difference is not None
    assert float(hinge["p"]) == one.difference.p
    assert float(hinge["mean"]) == pytest.approx(np.mean([*HINGE, UNTRAINED]), rel=1e-15)
    each = list(csv.DictReader(io.StringIO(str(files["runs.csv"]))))
    assert len(each) == 11
    assert {row["outcome"] for row in each} == {"finished", "diverged"}


def test_a_report_has_every_file_and_drawing(outputs: Path) -> None:
    comparison = compare(outputs)
    files = make_files(comparison)
    assert {"table.md", "table.tex", "table.csv", "runs.csv", "seeds.png", "curves.png", "report.html"} <= set(files)
    assert "objective=hinge" in str(files["table.md"])
    assert r"\toprule" in str(files["table.tex"])
    assert files["seeds.png"][:4] == b"\x89PNG"


@pytest.mark.parametrize("width", [60, 100, 240])
def test_no_cell_is_lost_on_a_narrow_terminal(outputs: Path, width: int) -> None:
    comparison = compare(outputs)
    table = primary_sheet(comparison, arm_rows(comparison))
    console = Console(file=io.StringIO(), width=width)
    for part in terminal_tables(table, width):
        console.print(part, markup=False, highlight=False)
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(len(row) <= width for row in shown.splitlines())
    for name in table.columns:
        assert all(text in shown for text in [name, *(column(table, name) if name != "arm" else [])])


def test_a_note_of_a_cell_is_marked_in_the_cell_on_a_terminal(outputs: Path) -> None:
    run(outputs, "hinge", 5, None, status="diverged")
    comparison = compare(outputs)
    console = Console(file=io.StringIO(), width=200)
    for part in terminal_tables(primary_sheet(comparison, arm_rows(comparison)), 200):
        console.print(part, markup=False, highlight=False)
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "23.42 (a)" in shown
    assert "a: 1 of 6 values is imputed" in shown


def test_a_folder_is_written_completely_or_unchanged(tmp_path: Path) -> None:
    to = tmp_path / "comparison"
    write_comparison(to, {"report.html": "one", "old.png": b"x"})
    (to / "wandb").mkdir()
    with pytest.raises(TypeError):
        write_comparison(to, {"report.html": "two", "bad": 3})  # pyright: ignore[reportArgumentType]
    assert (to / "report.html").read_text() == "one"
    write_comparison(to, {"report.html": "two"})
    assert sorted(path.name for path in to.iterdir()) == ["report.html", "wandb"]
    assert [path.name for path in tmp_path.iterdir()] == ["comparison"]


def test_a_folder_without_a_comparison_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(Mistake, match="holds no comparison"):
        write_comparison(tmp_path, {"report.html": ""})
    assert (tmp_path / "thesis.tex").exists()


def test_figures_of_many_arms_show_the_baseline_and_the_best(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [500.0, 501.0])
    for i in range(30):
        arm(tmp_path, f"o{i:02d}", [50.0 - i, 51.0 - i])
    names = [one.name for one in plotted_arms(compare(tmp_path))]
    assert names == ["objective=nonsaturating", *(f"objective=o{i:02d}" for i in range(7, 30))]


def test_numbers_and_runs_have_a_cell_for_every_column(outputs: Path) -> None:
    comparison = compare(outputs)
    assert len(numbers_sheet(arm_rows(comparison)).rows) == 2
    assert column(runs_sheet(comparison), "seed") == [str(seed) for seed in range(5)] * 2


def test_one_score_against_another_joins_arms_that_are_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the numbers, whatever the baseline; the other score is named by its key or its metric."""
    other = "coverage_digits_900_train"

    def score(value: float) -> dict[str, Any]:
        return {"value": value, "std": None, "contract": contract(metric="coverage")}

    for weight in (0.1, 0.0, 0.01):
        for seed in (0, 1):
            run(
                tmp_path,
                f"w{weight}",
                seed,
                10 * weight + seed,
                weight=weight,
                untrained=None,
                others={other: score(1 - weight)},
            )
    drawn: list[Any] = []
    monkeypatch.setattr(plot, "plot_against", lambda *args, **more: drawn.append((args, more)) or b"png")
    for requested in ("coverage", other):
        comparison = compare(tmp_path, by=("weight",), baseline=None, against=requested)
        pictures = {picture.name for picture in build_report(comparison, arm_rows(comparison), {}).pictures}
        assert "against" in pictures
        (arms, scores, x, _), more = drawn[-1]
        assert [arm.settings["weight"] for arm in arms] == [0, 0.01, 0.1]
        assert scores[2] == [(0.9, 1.0), (0.9, 2.0)]
        assert x.startswith(f"{other} (higher")
        assert more == {"connect": True}
    wrong = compare(tmp_path, by=("weight",), baseline=None, against="recall")
    with pytest.raises(Mistake, match="against=recall must be one other score that all runs have"):
        build_report(wrong, arm_rows(wrong), {})
