"""Run folders become arms: no run is counted twice, put into the wrong arm, or left out silently."""

from __future__ import annotations

import json
import math
import shutil
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from folders import KEY, UNTRAINED, arm, contract, run

from saddlepoint.comparison.arms.arm import COLLAPSED, DIVERGED, FINISHED, UNFINISHED, Arm, ScoredRun
from saddlepoint.comparison.arms.comparison import Comparison, ComparisonOptions, build_comparison
from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, higher_is_better
from saddlepoint.comparison.arms.grouping import varying_keys
from saddlepoint.comparison.arms.record import load_records
from saddlepoint.comparison.report.overview import overview_sentences
from saddlepoint.error import Mistake
from saddlepoint.privacy.guarantee import Guarantee, format_privacy

OPTIONS = ComparisonOptions(by=("objective",), metric=KEY, baseline="nonsaturating")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two objectives, three seeds each."""
    arm(tmp_path, "nonsaturating", [10.0, 11.0, 12.0])
    arm(tmp_path, "hinge", [7.0, 8.0, 9.0])
    return tmp_path


def compare(outputs: Path, options: ComparisonOptions = OPTIONS) -> Comparison:
    return build_comparison(load_records(outputs), options)


def find_run(comparison: Comparison, name: str, seed: int) -> ScoredRun:
    return next(one for one in find_arm(comparison, name).runs if one.seed == seed)


def find_arm(comparison: Comparison, name: str) -> Arm:
    return next(one for one in comparison.arms if one.name == f"objective={name}")


# ---------------------------------------------------------------------------------------------------------- run folders


def test_a_glob_a_folder_a_name_a_run_and_a_list_find_the_same_runs(outputs: Path) -> None:
    every = {record.folder for record in load_records(outputs).records}
    assert len(every) == 6
    patterns = [f"{outputs}/*", str(outputs), [outputs / "hinge", outputs / "nonsaturating"],
             [*sorted(outputs.glob("*/seed*"))], [f"{outputs}/*/seed*", outputs]]  # fmt: skip
    for runs in patterns:
        assert {record.folder for record in load_records(runs).records} == every


def test_a_folder_that_was_moved_aside_is_no_run_and_is_counted(outputs: Path) -> None:
    shutil.copytree(outputs / "hinge" / "seed0", outputs / "hinge" / "seed0-old1")
    collection = load_records(f"{outputs}/*")
    assert len(collection.records) == 6
    assert [path.name for path in collection.moved_aside] == ["seed0-old1"]
    assert any("1 folder of a former run" in line for line in overview_sentences(build_comparison(collection, OPTIONS)))


def test_seeds_come_in_the_order_of_numbers(tmp_path: Path) -> None:
    for seed in (10, 9, 2):
        run(tmp_path, "a", seed)
    assert [record.seed for record in load_records(tmp_path).records] == [2, 9, 10]


def test_a_pattern_without_a_match_is_reported_with_what_was_searched(tmp_path: Path) -> None:
    with pytest.raises(
        Mistake, match=r"runs=.*nowhere/\*: looked for <name>/seed<k>/config.yaml, and nothing is there"
    ):
        load_records(f"{tmp_path}/nowhere/*")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Mistake, match="1 matched, and none holds a run"):
        load_records(f"{tmp_path}/*")


def test_a_config_that_is_not_yaml_is_named(outputs: Path) -> None:
    (outputs / "hinge" / "seed1" / "config.yaml").write_text("a: [1")
    with pytest.raises(Mistake, match=r"hinge/seed1/config.yaml cannot be read"):
        load_records(outputs)


# ------------------------------------------------------------------------------------------------------------ grouping


def test_arms_are_named_as_on_the_command_line_and_the_baseline_is_first(outputs: Path) -> None:
    comparison = compare(outputs)
    assert [one.name for one in comparison.arms] == ["objective=nonsaturating", "objective=hinge"]
    assert [one.seed for one in comparison.arms[0].runs] == [0, 1, 2]
    assert comparison.arms[0].values == [10.0, 11.0, 12.0]


def test_a_group_with_several_options_is_named_as_a_list(tmp_path: Path) -> None:
    for seed, penalties in enumerate(([], ["r1", "r2"])):
        run(tmp_path, f"{seed}", 0, choice={"objective": "hinge", "regularizer": penalties})
    comparison = build_comparison(load_records(tmp_path), ComparisonOptions())
    assert [one.name for one in comparison.arms] == ["regularizer=[]", "regularizer=[r1,r2]"]


def test_the_default_of_by_is_the_groups_that_differ_and_then_the_keys_that_differ(outputs: Path) -> None:
    run(outputs, "fast", 0, 5.0, objective="hinge", optimizer={"generator": {"lr": 1e-2}})
    comparison = compare(outputs, ComparisonOptions())
    assert comparison.by == ("objective", "optimizer.generator.lr")
    assert {one.name for one in comparison.arms} == {
        "objective=hinge optimizer.generator.lr=0.01",
        "objective=hinge optimizer.generator.lr=0.001",
        "objective=nonsaturating optimizer.generator.lr=0.001",
    }


def test_an_objective_that_some_runs_lack_distinguishes_arms_by_its_keys(tmp_path: Path) -> None:
    """Feature matching replaces the adversarial term in one run: its objective.generator is null."""
    choice = {"objective": "hinge", "regularizer": ["feature_matching"]}
    run(tmp_path, "added", 0, choice=choice)
    path = run(tmp_path, "replaced", 0, choice=choice) / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, "objective": {"generator": None}}))
    comparison = build_comparison(load_records(tmp_path), ComparisonOptions())
    assert comparison.by == ("objective.generator._target_", "objective.generator.label")


def test_a_group_that_follows_from_a_bundle_is_not_a_second_key(tmp_path: Path) -> None:
    for bundle, regularizer in (("plain", []), ("penalised", ["r1"])):
        for objective in ("hinge", "minimax"):
            choice = {"objective": objective, "layer@architecture.generator.norm": bundle, "penalty": bundle}
            for seed in (0, 1):
                run(tmp_path, f"{objective}-{bundle}", seed, objective=objective, regularizer=regularizer,
                    choice=choice)  # fmt: skip
    assert varying_keys(load_records(tmp_path).records) == ["objective", "penalty"]


def test_numeric_settings_sort_as_numbers_and_1_equals_1_point_0(tmp_path: Path) -> None:
    for i, lr in enumerate((10.0, 2, 2.0)):
        run(tmp_path, f"{i}", i, optimizer={"generator": {"lr": lr}})
    comparison = build_comparison(load_records(tmp_path), ComparisonOptions(by=("optimizer.generator.lr",)))
    assert [one.name for one in comparison.arms] == ["optimizer.generator.lr=2", "optimizer.generator.lr=10"]
    assert len(comparison.arms[0].runs) == 2


def test_locations_devices_and_callbacks_do_not_distinguish_arms(outputs: Path) -> None:
    shutil.rmtree(outputs / "hinge" / "seed1")
    run(outputs, "elsewhere", 1, 8.0, device="cuda", callback={"grid": {"rows": 3}})
    assert len(find_arm(compare(outputs), "hinge").runs) == 3


def test_runs_of_one_arm_that_differ_in_another_key_are_refused_with_the_key(outputs: Path) -> None:
    run(outputs, "fast", 7, objective="hinge", optimizer={"generator": {"lr": 1e-2}})
    with pytest.raises(
        Mistake, match=r"optimizer.generator.lr: 0.01 in .*fast/seed7, 0.001 in .*hinge/seed0"
    ) as caught:
        compare(outputs)
    assert "by=[objective,optimizer.generator.lr]" in str(caught.value)


def test_a_changed_argument_of_the_group_in_by_is_a_difference_too(outputs: Path) -> None:
    objective = {"generator": {"_target_": "saddlepoint.objective.hinge.generator", "label": 0.9}}
    path = run(outputs, "smooth", 7)
    config = yaml.safe_load((path / "config.yaml").read_text()) | {"objective": objective}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(Mistake, match=r"differ in objective.generator.label"):
        compare(outputs)


def test_differences_that_are_not_in_the_names_are_reported(tmp_path: Path) -> None:
    arm(tmp_path, "hinge", [1.0, 2.0], optimizer={"generator": {"lr": 1e-2}})
    arm(tmp_path, "nonsaturating", [1.0, 2.0])
    assert any("arms differ in: optimizer.generator.lr" in line for line in overview_sentences(compare(tmp_path)))


def test_one_group_cannot_be_compared(tmp_path: Path) -> None:
    arm(tmp_path, "hinge", [1.0, 2.0])
    with pytest.raises(Mistake, match=r"one group: the 2 runs do not differ in objective.*only in their seeds"):
        compare(tmp_path)


def test_two_runs_of_one_seed_in_one_arm_are_refused_and_named(outputs: Path) -> None:
    shutil.copytree(outputs / "hinge", outputs / "again")
    with pytest.raises(Mistake, match=r"duplicate seeds: .*again/seed0 and .*hinge/seed0 are both seed 0"):
        compare(outputs)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("objectiv", "Did you mean objective"),
        ("optimizer.generator.rl", "Did you mean optimizer.generator.lr"),
        ("optimizer.generator", "holds lr; name one, optimizer.generator.lr"),
        ("seed", "differ in their seed"),
    ],
)
def test_a_mistyped_key_is_refused_with_the_closest_one(outputs: Path, by: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        compare(outputs, ComparisonOptions(by=(by,)))


@pytest.mark.parametrize("baseline", ["hinge", "objective=hinge", ["hinge"]])
def test_a_baseline_is_named_by_its_value_or_its_whole_name(outputs: Path, baseline: str | list[str]) -> None:
    assert compare(outputs, ComparisonOptions(("objective",), baseline=baseline)).baseline.name == "objective=hinge"


def test_an_unknown_baseline_is_refused_with_the_closest_one(outputs: Path) -> None:
    with pytest.raises(Mistake, match=r"no arm has this name\. Did you mean hinge"):
        compare(outputs, ComparisonOptions(("objective",), baseline="hing"))


def test_runs_of_other_lengths_are_refused_unless_images_are_named(outputs: Path) -> None:
    run(outputs, "long", 5, objective="hinge", images=2000)
    with pytest.raises(Mistake, match=r"images=1000 and .*long/seed5 images=2000"):
        compare(outputs)
    comparison = compare(outputs, ComparisonOptions(("objective", "images")))
    assert "objective=hinge images=2000" in {one.name for one in comparison.arms}


# ------------------------------------------------------------------------------------------------ outcomes and failures


def test_a_missing_seed_is_named_with_its_arm(outputs: Path) -> None:
    shutil.rmtree(outputs / "hinge" / "seed1")
    comparison = compare(outputs)
    assert comparison.missing_seeds == {"objective=hinge": [1]}
    assert "objective=hinge lacks seed 1." in overview_sentences(comparison)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("diverged", DIVERGED), *((one, UNFINISHED) for one in ("failed", "interrupted", "running", None))],
)
def test_a_run_that_did_not_finish_counts_with_the_worst_untrained_score_of_all_arms(
    outputs: Path, status: str | None, outcome: str
) -> None:
    path = run(outputs, "hinge", 3, None, status=status, untrained=97.0, summary={"error": "loss is nan"})
    comparison = compare(outputs)
    one = find_run(comparison, "hinge", 3)
    assert (one.outcome, one.value, one.final, one.failed) == (outcome, UNTRAINED, None, True)
    assert one.is_imputed
    (line,) = [line for line in overview_sentences(comparison) if str(path) in line]
    assert f"seed3: {outcome}" in line
    assert "its value is the worst score of all untrained generators, 100." in line


@pytest.mark.parametrize(("final", "outcome"), [(97.0, COLLAPSED), (120.0, COLLAPSED), (96.9, FINISHED)])
def test_a_run_that_is_no_better_than_untrained_has_collapsed(outputs: Path, final: float, outcome: str) -> None:
    run(outputs, "hinge", 3, final, untrained=97.0)
    one = find_run(compare(outputs), "hinge", 3)
    value = {97.0: UNTRAINED, 120.0: 120.0, 96.9: 96.9}[final]  # the worse of its own score and the floor of all arms
    assert (one.outcome, one.value, one.final) == (outcome, value, final)
    assert one.is_imputed == (final == 97.0)


def test_if_higher_is_better_a_collapse_is_a_score_that_is_no_higher(tmp_path: Path) -> None:
    key = "coverage_digits_900_train"
    for objective, finals in (("hinge", (0.5, 0.6)), ("nonsaturating", (0.01, 0.7))):
        for seed, final in enumerate(finals):
            run(tmp_path, objective, seed, final, objective=objective, key=key, untrained=0.02,
                measured={"metric": "coverage"})  # fmt: skip
    comparison = build_comparison(load_records(tmp_path), ComparisonOptions(("objective",), baseline="nonsaturating"))
    assert [one.outcome for one in comparison.baseline.runs] == [COLLAPSED, FINISHED]
    assert comparison.baseline.values == [0.01, 0.7], "worse than untrained, as measured"


def test_an_untrained_generator_is_perfectly_authentic_so_this_score_shows_no_collapse(tmp_path: Path) -> None:
    settings = {"key": "authenticity_digits_450_test", "untrained": 1.0, "measured": {"metric": "authenticity"}}
    arm(tmp_path, "hinge", [0.5, 0.6], **settings)
    arm(tmp_path, "nonsaturating", [0.2, 0.3], **settings)
    run(tmp_path, "hinge", 2, None, status="diverged", objective="hinge", **settings)
    comparison = build_comparison(load_records(tmp_path), ComparisonOptions(("objective",), baseline="nonsaturating"))
    assert [one.outcome for one in comparison.baseline.runs] == [FINISHED, FINISHED]
    failed = find_run(comparison, "hinge", 2)
    assert (failed.outcome, failed.value) == (DIVERGED, -math.inf), "not the score of an untrained generator"


def test_a_final_score_of_nan_is_a_divergence(outputs: Path) -> None:
    run(outputs, "hinge", 3, math.nan)
    assert find_run(compare(outputs), "hinge", 3).outcome == DIVERGED


def test_final_scores_worse_than_untrained_count_as_measured(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [10.0, 11.0, 12.0], untrained=105.6)
    arm(tmp_path, "hinge", [300.0, 250.0, 400.0], untrained=105.6)
    hinge = find_arm(compare(tmp_path), "hinge")
    assert {one.outcome for one in hinge.runs} == {COLLAPSED}
    assert hinge.values == [300.0, 250.0, 400.0]
    assert not hinge.has_imputed, "its own scores, so their mean is an estimate"


def test_all_failures_count_the_worst_untrained_score_of_any_arm(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [10.0, 11.0], untrained=150.0)
    run(tmp_path, "hinge", 0, 7.0, untrained=90.0)
    run(tmp_path, "hinge", 1, None, status="failed", untrained=90.0)
    run(tmp_path, "hinge", 2, None, status="failed", untrained=None)
    run(tmp_path, "minimax", 0, None, status="failed", untrained=None, objective="minimax")
    comparison = compare(tmp_path)
    assert comparison.failure_floor == 150.0
    assert find_arm(comparison, "hinge").values == [7.0, 150.0, 150.0], (
        "a good untrained score does not help a run that failed"
    )
    assert find_arm(comparison, "minimax").values == [150.0]


def test_a_run_that_got_worse_before_it_failed_counts_with_its_last_score(outputs: Path) -> None:
    path = run(outputs, "hinge", 3, None, status="diverged", curve=((250, 20.0), (500, 300.0)))
    comparison = compare(outputs)
    one = find_run(comparison, "hinge", 3)
    assert (one.value, one.is_imputed) == (300.0, True)
    assert any(
        str(path) in line and "its own last score, 300, worse than" in line for line in overview_sentences(comparison)
    )


def test_without_any_untrained_score_a_failure_has_the_worst_rank(tmp_path: Path) -> None:
    arm(tmp_path, "nonsaturating", [10.0, 11.0], untrained=None)
    run(tmp_path, "hinge", 0, 7.0, untrained=None)
    assert compare(tmp_path).failure_floor is None
    run(tmp_path, "hinge", 1, None, status="diverged", untrained=None)
    comparison = compare(tmp_path)
    assert find_arm(comparison, "hinge").values == [7.0, math.inf]
    assert any(
        "its value is the worst rank, as no untrained generator has a score" in line
        for line in overview_sentences(comparison)
    )
    assert not any("leave" in line for line in overview_sentences(comparison))


def test_a_run_that_was_measured_without_a_value_is_a_failure_with_the_worst_rank(tmp_path: Path) -> None:
    """A reverse KL has no value without a point of high quality: of an untrained generator, or at the end of a run."""
    key = "modes_reverse_kl_identity_2500_train"
    captured = {"modes_captured_identity_2500_train":
                {"value": 0.0, "std": None, "contract": contract(metric="modes_captured", n_fake=2500)}}  # fmt: skip
    more = {"key": key, "untrained": None, "curve": (), "others": captured}
    measured = {"metric": "modes_reverse_kl", "n_fake": 2500}
    for seed, final in enumerate((0.2, 0.3, 0.1)):
        run(tmp_path, "hinge", seed, final, measured=measured, **more)
        run(tmp_path, "minimax", seed, final + 1, measured=measured, objective="minimax", **more)
    run(tmp_path, "minimax", 3, None, objective="minimax", **{**more, "others": None},
        summary={"final": captured})  # fmt: skip
    options = ComparisonOptions(("objective",), metric="modes_reverse_kl", baseline="hinge")
    comparison = build_comparison(load_records(tmp_path), options)
    assert find_run(comparison, "minimax", 3).outcome == COLLAPSED
    assert find_arm(comparison, "minimax").values == [1.2, 1.3, 1.1, math.inf]
    run(tmp_path, "hinge", 3, 0.2, measured=measured, **{**more, "untrained": 4.0})
    run(tmp_path, "hinge", 4, None, status="failed", **more)
    comparison = build_comparison(load_records(tmp_path), options)
    assert find_arm(comparison, "minimax").values[-1] == math.inf, "also if an untrained generator has a score"
    assert find_arm(comparison, "hinge").values[-1] == 4.0, "a run that was not measured at its end counts the floor"
    assert any(
        "its value is the worst rank, as it was measured and has no value" in line
        for line in overview_sentences(comparison)
    )
    run(tmp_path, "minimax", 4, 5.0, objective="minimax")  # only by FID: its modes were not counted
    with pytest.raises(Mistake, match=r"missing from 1 run \(.*minimax/seed4\)"):
        build_comparison(load_records(tmp_path), options)


def test_a_run_under_way_is_left_out_named_and_makes_the_comparison_provisional(outputs: Path) -> None:
    path = run(outputs, "hinge", 3, None, status="running")
    with FileLock(path.with_name(".seed3.lock")):
        comparison = compare(outputs)
        assert len(find_arm(comparison, "hinge").runs) == 3
        assert overview_sentences(comparison)[0].startswith("PROVISIONAL")
        assert str(path) in overview_sentences(comparison)[0]
        assert comparison.missing_seeds == {"objective=nonsaturating": [3]}, "that of hinge is under way"
    assert find_run(compare(outputs), "hinge", 3).outcome == UNFINISHED, "its process has ended"


def test_a_planned_run_that_was_not_started_is_named(outputs: Path) -> None:
    (outputs / "hinge" / ".seed8.yaml").write_text("seed: 8\n")
    assert f"{outputs}/hinge: seed8 was planned and not started." in overview_sentences(compare(outputs))


def test_an_arm_without_a_started_run_is_named(outputs: Path) -> None:
    (outputs / "minimax").mkdir()
    for seed in (0, 1):
        (outputs / "minimax" / f".seed{seed}.yaml").write_text(f"seed: {seed}\n")
    for runs in (outputs, f"{outputs}/*"):
        sentences = overview_sentences(build_comparison(load_records(runs), OPTIONS))
        assert f"{outputs}/minimax: seed0, seed1 were planned and not started." in sentences


def test_a_baseline_may_be_a_number(tmp_path: Path) -> None:
    for lr in (1.0, 0.5):
        for seed in (0, 1):
            run(tmp_path, f"lr{lr}", seed, 10.0 + seed, optimizer={"generator": {"lr": lr}})
    by = ("optimizer.generator.lr",)
    for baseline in (0.5, "0.5", 1.0, 1):
        assert build_comparison(load_records(tmp_path), ComparisonOptions(by, baseline=baseline)).baseline.settings[
            by[0]
        ] == float(baseline)


def test_a_finished_run_that_ended_early_is_named(outputs: Path) -> None:
    run(outputs, "hinge", 3, 5.0, summary={"images": 900})
    assert any("seed3 ended at 900 of 1,000 images" in line for line in overview_sentences(compare(outputs)))


def test_unreadable_lines_of_a_journal_are_skipped_and_counted(outputs: Path) -> None:
    path = outputs / "hinge" / "seed0" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"images": 700, "fid\n[1]\n{"rounds": 3}\n')
    comparison = compare(outputs)
    assert any("hinge/seed0/metrics.jsonl: 3 unreadable lines" in line for line in overview_sentences(comparison))
    assert find_run(comparison, "hinge", 0).curve == ((0, 100.0), (500, 20.0), (1000, 7.0))


# -------------------------------------------------------------------------------------------------------------- scores


def test_the_area_is_the_mean_of_the_score_over_images(outputs: Path) -> None:
    one = find_run(compare(outputs), "hinge", 0)
    assert one.area == pytest.approx((500 * (100 + 20) / 2 + 500 * (20 + 7) / 2) / 1000)


def test_a_quality_is_reached_at_the_first_evaluation_that_is_as_good(outputs: Path) -> None:
    comparison = compare(outputs, ComparisonOptions(("objective",), baseline="hinge", reach=20.0))
    assert [(one.images_to_reach, one.seconds_to_reach) for one in comparison.arms[0].runs] == [(500, 5.0)] * 3
    comparison = compare(outputs, ComparisonOptions(("objective",), baseline="hinge", reach=8.0))
    assert [one.images_to_reach for one in comparison.arms[0].runs] == [1000, 1000, None]
    with (outputs / "hinge" / "seed0" / "metrics.jsonl").open("r+") as journal:  # a score that is not a number
        previous = journal.read()
        journal.seek(0)
        journal.write(json.dumps({"images": 0, KEY: None}) + "\n" + previous)
    assert (
        compare(outputs, ComparisonOptions(("objective",), baseline="hinge", reach=8.0)).arms[0].runs[0].images_to_reach
        == 1000
    )


def test_noise_is_the_last_measurement_over_fresh_samples(outputs: Path) -> None:
    rows = [{"at": "last", "scores": {}, "uncertainty": {"care": {}, KEY: {"generations": s}}} for s in (0.5, 0.25)]
    (outputs / "hinge" / "seed0" / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    comparison = compare(outputs)
    assert [find_run(comparison, "hinge", seed).noise for seed in (0, 1)] == [0.25, None]


def test_a_metric_is_chosen_by_its_key_its_name_or_by_default(outputs: Path) -> None:
    for metric in (KEY, "fid", None):
        assert compare(outputs, ComparisonOptions(("objective",), metric=metric)).primary.key == KEY


def test_the_score_of_a_second_extractor_is_chosen_by_its_key(tmp_path: Path) -> None:
    second = "fid_digits-b_900_train"
    score = {"value": 3.0, "std": None, "contract": contract(extractor="digits-b", extractor_sha256="5e5e" * 16)}
    for objective in ("hinge", "nonsaturating"):
        arm(tmp_path, objective, [10.0, 11.0], others={second: score})
    assert compare(tmp_path, ComparisonOptions(metric="fid")).primary.key == KEY, "of the first extractor"
    comparison = compare(tmp_path, ComparisonOptions(metric=second))
    assert (comparison.primary.key, comparison.other_scores) == (second, (KEY,))


def test_an_unknown_metric_is_refused_with_the_closest_one(outputs: Path) -> None:
    with pytest.raises(Mistake, match=f"no run has such a score. Did you mean {KEY}"):
        compare(outputs, ComparisonOptions(metric="fid_digits_900_test"))


def test_runs_without_the_metric_and_runs_with_it_are_named(outputs: Path) -> None:
    run(outputs, "hinge", 3, 5.0, key="kid_digits_900_train", measured={"metric": "kid"})
    with pytest.raises(Mistake, match=rf"{KEY} is missing from 1 run \(.*hinge/seed3\); 6 runs \(.* and 3 more\) have"):
        compare(outputs)
    with pytest.raises(Mistake, match="no score is common to all runs"):
        compare(outputs, ComparisonOptions())


def test_a_score_measured_later_counts_if_the_run_had_none(outputs: Path) -> None:
    path = run(outputs, "hinge", 3, 5.0, key="kid_digits_900_train", measured={"metric": "kid"})
    later = {"at": "last", "scores": {KEY: {"value": 6.0, "std": None, "contract": contract()}}}
    (path / "evaluations.jsonl").write_text(json.dumps(later) + "\n")
    assert find_run(compare(outputs), "hinge", 3).value == 6.0


def test_mixed_contracts_are_refused_with_the_field_and_both_runs(outputs: Path) -> None:
    run(outputs, "hinge", 3, 5.0, measured={"batch_norm": "batch of 500"})
    with pytest.raises(
        Mistake, match=r"seed0 and .*seed3 cannot be compared: batch_norm is running and batch of 500 respectively"
    ):
        compare(outputs)


def test_a_secondary_score_under_several_contracts_is_left_out_and_named(outputs: Path) -> None:
    shutil.rmtree(outputs)
    for i, objective in enumerate(("hinge", "nonsaturating")):
        score = {"value": 0.5, "std": None, "contract": contract(metric="coverage", settings={"k": i})}
        arm(outputs, objective, [1.0, 2.0], others={"coverage": score})
    comparison = compare(outputs)
    assert (comparison.other_scores, comparison.mixed_scores) == ((), ("coverage",))
    assert any("several contracts: coverage" in line for line in overview_sentences(comparison))


def test_runs_without_a_finished_one_cannot_be_compared(tmp_path: Path) -> None:
    run(tmp_path, "a", 0, None, status="failed")
    run(tmp_path, "b", 0, None, status="failed", objective="minimax")
    with pytest.raises(Mistake, match="none of the 2 runs has finished"):
        compare(tmp_path)


def test_what_seeds_share_counts_only_if_every_config_declares_it(tmp_path: Path) -> None:
    arm(tmp_path, "hinge", [1.0, 2.0], shared=["labels", "order"])
    arm(tmp_path, "nonsaturating", [1.0, 2.0], shared=["labels"])
    assert compare(tmp_path).shared_per_seed == ("labels",)
    for path in tmp_path.glob("*/seed*/config.yaml"):  # shared=labels, without brackets
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "shared": "labels"}))
    assert compare(tmp_path).shared_per_seed == ("labels",)


def test_the_direction_of_a_metric_equals_that_of_its_class(checkout: Path) -> None:
    from hydra.utils import instantiate

    from saddlepoint.metric.metric import metric_name

    directions = {}
    for path in (checkout / "conf" / "metric").glob("*.yaml"):
        for name, node in yaml.safe_load(path.read_text()).items():
            directions |= {metric_name(name, suffix): more for suffix, more in instantiate(node).directions().items()}
    of_players = {"error", "nll", "forward_kl", "reverse_kl"}  # measured by callbacks
    known = {*HIGHER_IS_BETTER, *LOWER_IS_BETTER} - of_players
    assert {name: name in HIGHER_IS_BETTER for name in known} == directions


def test_an_unknown_metric_needs_higher_is_better() -> None:
    with pytest.raises(Mistake, match="set higher_is_better"):
        higher_is_better("mine")
    assert higher_is_better("mine", True)
    assert not higher_is_better("cycle_mae")  # of any side of a game
    with pytest.raises(Mistake, match="of fid, low values are good"):
        higher_is_better("fid", True)


def test_a_thousand_runs_are_read_in_seconds(tmp_path: Path) -> None:
    for i in range(250):
        arm(tmp_path, f"o{i:03d}", [10.0, 11.0, 12.0, 13.0])
    start = time.process_time()
    comparison = compare(tmp_path, ComparisonOptions(("objective",), baseline="o007"))
    assert len(comparison.arms) == 250
    assert time.process_time() - start < 10


# ------------------------------------------------------------------------------------------------------------- privacy


def test_the_overview_has_the_weakest_guarantee_of_each_arm(tmp_path: Path) -> None:
    plan = partial(Guarantee, images=60_000, batch=512, clip=1.0, delta=1e-5)
    weak, strong = (plan(noise=noise).facts(100) for noise in (0.8, 2.0))
    arm(tmp_path, "hinge", [9.0], summary={"privacy": strong})
    run(tmp_path, "hinge", 1, 9.5, objective="hinge", summary={"privacy": weak})
    arm(tmp_path, "nonsaturating", [10.0, 11.0])
    sentences = overview_sentences(compare(tmp_path))
    assert f"objective=hinge: {format_privacy(weak)}." in sentences
    assert "objective=nonsaturating: no privacy guarantee." in sentences
    assert f"Not covered by these guarantees: {weak['not_covered']}." in sentences


def test_the_overview_of_runs_without_privacy_does_not_mention_it(outputs: Path) -> None:
    assert not any("privacy" in sentence for sentence in overview_sentences(compare(outputs)))
