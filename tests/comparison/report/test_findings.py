"""Findings: a sentence per arm, short names, a table that fits, and the number of seeds needed."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from folders import KEY, arm, contract, run
from rich.console import Console
from scipy import stats

from saddlepoint.comparison.arms.comparison import Comparison, ComparisonOptions, build_comparison, short_names
from saddlepoint.comparison.arms.record import load_records
from saddlepoint.comparison.report.build_report import build_report
from saddlepoint.comparison.report.findings import (
    arm_findings,
    extractor_findings,
    min_seeds,
    paper_sheet,
    seeds_needed,
    summary_sheet,
)
from saddlepoint.comparison.report.markup import to_html, to_latex
from saddlepoint.comparison.report.overview import overview_sentences
from saddlepoint.comparison.report.sheet import EMPTY, Cell, Sheet
from saddlepoint.comparison.report.table import arm_rows
from saddlepoint.comparison.report.terminal_page import terminal_tables
from saddlepoint.comparison.stats.effect import pooled_std
from saddlepoint.comparison.stats.power import exact_power

PLAIN, HINGE = [10.0, 11.0, 12.5, 10.5, 11.5], [7.0, 8.0, 9.5, 7.5, 8.5]


def compare(outputs: Path, **options: object) -> Comparison:
    arguments = {"by": ("objective",), "metric": KEY, "baseline": "nonsaturating", **options}
    return build_comparison(load_records(outputs), ComparisonOptions(**arguments))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """One arm that is better, one that is worse, and one that is not shown to differ."""
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", HINGE)
    arm(tmp_path, "minimax", [value + 0.4 for value in PLAIN])
    arm(tmp_path, "wasserstein", [value + 9 for value in PLAIN])
    return compare(tmp_path)


def test_each_arm_has_one_sentence_the_best_first(comparison: Comparison) -> None:
    hinge, minimax, wasserstein = arm_findings(comparison, arm_rows(comparison))
    assert hinge == "objective=hinge is better than objective=nonsaturating: mean 8.1 against 11.1, Holm p 0.024."
    assert minimax.startswith("objective=minimax is not shown to differ from objective=nonsaturating: mean 11.5 ")
    assert re.search(
        r"About \d+ seeds per arm \(from \d+ to (more than )?[\d,]+, as the spread is estimated from few runs\) would "
        r"show a difference of this size with power 0\.8\.$",
        minimax,
    )
    assert wasserstein == (
        "objective=wasserstein is worse than objective=nonsaturating: mean 20.1 against 11.1, Holm p 0.024."
    )


def test_a_baseline_of_0_counts_as_named(tmp_path: Path) -> None:
    for weight in (0, 1):
        run(tmp_path, f"weight{weight}", 0, 10.0 + weight, weight=weight)
    sentences = " ".join(overview_sentences(compare(tmp_path, by=("weight",), baseline=0)))
    assert "Baseline: weight=0." in sentences
    assert "none was named" not in sentences


@pytest.mark.parametrize(("means", "poor"), [(8.0, True), (50.0, False)])
def test_the_overview_has_the_anchors_and_warns_if_no_arm_beats_noisy_class_means(
    tmp_path: Path, means: float, poor: bool
) -> None:
    anchors = {"real": {KEY: {"value": 0.3}}, "class means + noise": {KEY: {"value": means}}}
    arm(tmp_path, "nonsaturating", PLAIN, summary={"anchors": anchors})
    arm(tmp_path, "hinge", HINGE, summary={"anchors": anchors})
    sentences = overview_sentences(compare(tmp_path))
    assert f"For scale, anchors of the first run: held-out reals 0.3, class means + noise {means:g}." in sentences
    assert any(line.startswith("No arm is better than class means + noise") for line in sentences) == poor


def test_if_higher_is_better_the_higher_arm_is_better(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", HINGE)
    comparison = compare(tmp_path)
    comparison = replace(comparison, primary=replace(comparison.primary, higher_is_better=True))
    assert "objective=hinge is worse than objective=nonsaturating" in arm_findings(comparison, arm_rows(comparison))[0]


def test_the_needed_seeds_have_a_power_of_0_8_and_one_seed_fewer_has_not(comparison: Comparison) -> None:
    minimax = next(one for one in comparison.other_arms if one.name == "objective=minimax")
    needed = seeds_needed(comparison, minimax)
    assert needed is not None
    n, least, most = needed
    std = pooled_std(minimax.values, comparison.baseline.values)
    shift = 0.4 / std
    assert exact_power(n, n, shift, 0.05 / 3) >= 0.8 > exact_power(n - 1, n - 1, shift, 0.05 / 3)
    small = std * math.sqrt(8 / stats.chi2.ppf(0.95, 8))  # the least spread of its 90% interval, from 5 + 5 runs
    assert (
        exact_power(least, least, 0.4 / small, 0.05 / 3)
        >= 0.8
        > exact_power(least - 1, least - 1, 0.4 / small, 0.05 / 3)
    )
    assert least < n < most


def scores_by_digits_b(values: list[float], **changes: object) -> list[dict[str, dict[str, object]]]:
    """The scores of runs by another extractor, as summary.json has them."""
    other = {"extractor": "digits-b", "extractor_sha256": "beef" * 16, **changes}
    return [{"fid_digits-b_900_train": {"value": v, "std": None, "contract": contract(**other)}} for v in values]


def write_arms(outputs: Path, by_other: dict[str, list[float]], **changes: object) -> Comparison:
    for name, finals in {"nonsaturating": PLAIN, "hinge": HINGE}.items():
        for seed, (final, others) in enumerate(zip(finals, scores_by_digits_b(by_other[name], **changes), strict=True)):
            run(outputs, name, seed, final, objective=name, others=others)
    return compare(outputs)


def test_arms_that_another_extractor_orders_the_other_way_round_are_named(tmp_path: Path) -> None:
    comparison = write_arms(tmp_path, {"nonsaturating": [1.0] * 5, "hinge": [1.0] * 4 + [1.1]})
    assert extractor_findings(comparison) == (
        "By another extractor, fid_digits-b_900_train, these have the opposite order: objective=nonsaturating and "
        "objective=hinge. Read them as tied.",
    )


def test_two_arms_without_the_baseline_are_a_pair_too_and_three_pairs_are_named(tmp_path: Path) -> None:
    for i, name in enumerate(["nonsaturating", "a", "b", "c"]):
        reverse = {"nonsaturating": 0.0, "a": 3.0, "b": 2.0, "c": 1.0}[name]
        run(tmp_path, name, 0, float(i), objective=name, others=scores_by_digits_b([reverse])[0])
    (sentence,) = extractor_findings(compare(tmp_path))
    pairs = "objective=a and objective=b; objective=a and objective=c; objective=b and objective=c"
    assert sentence.endswith(f"these have the opposite order: {pairs}. Read them as tied.")
    run(tmp_path, "d", 0, 9.0, objective="d", others=scores_by_digits_b([2.5])[0])  # opposite to a alone
    (sentence,) = extractor_findings(compare(tmp_path))
    assert sentence.endswith("; objective=a and objective=d; and 1 more pair. Read them as tied.")


def test_the_same_order_and_another_measurement_have_no_sentence(tmp_path: Path) -> None:
    same = write_arms(tmp_path / "same", {"nonsaturating": [1.1] * 5, "hinge": [1.0] * 5})
    assert same.other_scores == ("fid_digits-b_900_train",)
    assert extractor_findings(same) == ()
    opposite = {"nonsaturating": [1.0] * 5, "hinge": [1.1] * 5}
    assert extractor_findings(write_arms(tmp_path / "n", opposite, n_fake=450)) == ()
    assert extractor_findings(write_arms(tmp_path / "same_extractor", opposite, extractor="digits")) == ()


def test_alarms_are_counted_by_arm_and_rule_also_those_that_were_cleared(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    first, other, quiet, *_ = arm(tmp_path, "hinge", HINGE)
    for folder, rules in ((first, ["collapse", "overfitting", "collapse"]), (other, ["collapse"])):
        events = [{"images": 10, "rule": rule, "event": event} for rule in rules for event in ("raised", "cleared")]
        events.append({"images": 20, "rule": "explosion", "event": "diverged"})  # the end of a run, not an alarm
        (folder / "health.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        (folder / "postmortem.md").write_text("# Post-mortem\n")
    (quiet / "health.jsonl").write_text("")
    sentences = overview_sentences(compare(tmp_path))
    assert (
        "Health alarms, also those that were cleared: objective=hinge in 2 of 5 runs (collapse 2, overfitting 1). Read "
        "postmortem.md of these runs." in sentences
    )


def test_without_alarms_there_is_no_sentence(comparison: Comparison) -> None:
    assert not any("alarm" in line for line in overview_sentences(comparison))


def test_the_overview_has_the_length_of_the_runs(comparison: Comparison) -> None:
    assert "4 arms by objective; 20 runs found: 20 finished; each of 1,000 images." in overview_sentences(comparison)


def test_too_few_seeds_are_reported_with_the_number_that_could_show_a_difference(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [50.0, 51.0, 52.0])
    arm(tmp_path, "hinge", [1.0, 2.0, 3.0])
    comparison = compare(tmp_path)
    (sentence,) = arm_findings(comparison, arm_rows(comparison))
    assert sentence.startswith("objective=hinge: 3 seeds cannot show a difference from objective=nonsaturating")
    assert min_seeds(comparison) == 4, "2 / C(8, 4) = 0.029 is the first that is not above 0.05; 2 / C(6, 3) = 0.1"
    assert "at least 4 per arm are needed" in sentence


def test_failures_are_in_the_sentence(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", HINGE)
    run(tmp_path, "hinge", 5, None, status="diverged", untrained=90.0)
    comparison = compare(tmp_path)
    (sentence,) = arm_findings(comparison, arm_rows(comparison))
    assert sentence.endswith("1 of 6 runs of objective=hinge failed.")
    assert "median" in sentence, "an imputed value has no mean"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([{"objective": "hinge"}, {"objective": "minimax"}], ["hinge", "minimax"]),
        ([{"objective": "hinge", "regularizer": ["r1", "r2"]}, {"objective": "hinge", "regularizer": []}],
         ["hinge [r1,r2]", "hinge regularizer=[]"]),
        ([{"optimizer.generator.lr": 0.1}, {"optimizer.generator.lr": 0.2}], ["lr=0.1", "lr=0.2"]),
        ([{"a.lr": 1, "b.lr": 2}, {"a.lr": 2, "b.lr": 1}], ["a.lr=1 b.lr=2", "a.lr=2 b.lr=1"]),
        ([{"smoothing": "off", "averaging": "on"}, {"smoothing": "on", "averaging": "off"}],
         ["smoothing=off averaging=on", "smoothing=on averaging=off"]),
        ([{"prior": "normal", "noise": "normal"}, {"prior": "uniform", "noise": "normal"}],
         ["prior=normal noise=normal", "uniform noise=normal"]),
    ],
)  # fmt: skip
def test_a_short_name_holds_what_differs_and_a_key_only_if_needed(settings: list[dict], names: list[str]) -> None:
    class FakeComparison:
        by = tuple(settings[0])
        arms = [type("A", (), {"name": str(i), "settings": one}) for i, one in enumerate(settings)]  # noqa: RUF012  made anew for each arm, shared by none

    assert list(short_names(FakeComparison).values()) == names  # pyright: ignore[reportArgumentType]


def test_the_report_has_findings_then_pictures_then_tables(comparison: Comparison) -> None:
    page = to_html(build_report(comparison, arm_rows(comparison), {}))
    positions = [page.index(part) for part in ("hinge is better than", "<img", "<table", "What was compared</h2>")]
    assert positions == sorted(positions)
    first = page[page.index("<table") :]
    assert "objective=" not in first[: first.index("</table>")]


@pytest.mark.parametrize("failures", [0, 2])
def test_the_first_table_fits_80_columns_unsplit(tmp_path: Path, failures: int) -> None:
    for objective in ("nonsaturating", "hinge"):
        arm(tmp_path, objective, (np.random.default_rng(0).normal(1234, 100, 10)).tolist())
    for seed in range(failures):
        run(tmp_path, "hinge", 10 + seed, None, status="diverged", untrained=9000.0)
    comparison = compare(tmp_path)
    sheet = next(one for one in build_report(comparison, arm_rows(comparison), {}).sheets if one.title == KEY)
    parts = [part for part in terminal_tables(sheet, 80) if not isinstance(part, str)]
    assert len(parts) == 1
    console = Console(file=(out := io.StringIO()), width=80)
    console.print(parts[0])
    assert "…" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80
    for name in sheet.columns:
        assert name in out.getvalue()


def test_effects_in_a_paper_have_a_name_an_interval_and_holm_s_p() -> None:
    names = ("effect of", "on the score", "runs", "p", "Holm p")
    rows = (("lr: low → high", "1.2 [0.3, 2.1]", "4 against 4", "0.01", "0.02"),
            ("lr x loss", "0.1 [-0.8, 1.0]", "2 against 2", "0.8", "exploratory"))  # fmt: skip
    sheet = paper_sheet(Sheet("effects", names, tuple(tuple(map(Cell, row)) for row in rows), ()))
    assert sheet.columns == ("effect of", "on the score", "Holm p")
    assert [[cell.text for cell in row] for row in sheet.rows] == [
        ["lr: low → high", "1.2 [0.3, 2.1]", "0.02"], ["lr x loss", "0.1 [-0.8, 1.0]", EMPTY.text],
    ]  # fmt: skip


def test_the_table_of_a_paper_has_few_columns_and_no_row_of_survivors(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", PLAIN)
    arm(tmp_path, "hinge", HINGE)
    comparison = compare(tmp_path)
    text = to_latex(paper_sheet(summary_sheet(comparison, arm_rows(comparison))))
    assert "\\begin{tabular}{lrrr}" in text
    assert "\\textbf{objective=hinge} & 5 & \\textbf{8.100 {[}" in text
    assert "\\toprule" in text
    run(tmp_path, "hinge", 5, None, status="diverged", untrained=90.0)
    with_failure = compare(tmp_path)
    assert "survivors" not in to_latex(paper_sheet(summary_sheet(with_failure, arm_rows(with_failure)))).casefold()
