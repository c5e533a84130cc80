"""The definition of a search: dimensions, samplers and pruners, the metric; and what is refused."""

import pytest
from formula import EVERY, KIND, RATE, plan

from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, metric_of
from saddlepoint.error import Mistake
from saddlepoint.sweep.method import PRUNERS, SAMPLERS, build_pruner, build_sampler, parse_method
from saddlepoint.sweep.plan import parse_metric
from saddlepoint.sweep.space import Range


def test_a_range_of_integers_has_integer_values_and_other_ranges_have_floats() -> None:
    assert list(Range("n", 1, 9, step=4).values or ()) == [1, 5, 9]
    assert Range("x", 0.0, 0.3, step=0.1).values == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert EVERY.distribution.to_external_repr(3.0) == 3
    assert EVERY.overrides(3) == ("every=3",)
    assert Range("x", 1.0, 5.0).values is None
    assert Range("x", 1, 5.0).overrides(0.1 + 0.2) == ("x=0.30000000000000004",)  # all digits


def test_a_choice_returns_the_overrides_of_a_label() -> None:
    assert KIND.overrides("b") == ("kind=b",)
    assert KIND.values == ["a", "b"]


@pytest.mark.parametrize(("metric", "direction"), [("fid", "minimize"), ("coverage", "maximize"), ("kid", "minimize")])
def test_the_direction_of_a_known_metric_is_known(metric: str, direction: str) -> None:
    assert parse_metric(metric).direction == direction
    assert parse_metric(f"{metric}_digits-b_450_validation").direction == direction


def test_the_metric_of_a_score_key_is_not_confused_with_longer_names() -> None:
    for metric in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        for extractor in ("", "_digits", "_digits-b", "_identity"):
            assert metric_of(f"{metric}{extractor}_5k_validation") == metric
    assert metric_of("mine_digits_450_validation", "mine") == "mine"


def test_the_score_is_only_searched_on_the_validation_split() -> None:
    keys = ["images", "fid_digits_900_train", "fid_infinity_digits_450_validation", "fid_digits_450_validation",
            "fid_digits-b_450_validation", "fid_digits_450_validation_std", "fid_digits_450_test"]  # fmt: skip
    assert parse_metric("fid").find_score_key(keys) == "fid_digits_450_validation"
    assert parse_metric("fid_digits-b_450_validation").find_score_key(keys) == "fid_digits-b_450_validation"
    assert parse_metric("fid_infinity").find_score_key(keys) == "fid_infinity_digits_450_validation"
    assert parse_metric("coverage").find_score_key(keys) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fid_digits_900_train",), "metric: fid_digits_900_train uses a split that final scores are reported on"),
        (("coverage_digits_450_test",), "metric: coverage$"),
        (("fidd",), r"its direction is unknown. Did you mean fid\?"),
        (("fid", "maximize"), "for fid, lower is better"),
        (("mine", "down"), "must be minimize or maximize"),
    ],
)
def test_an_invalid_metric_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        parse_metric(*arguments)


def test_a_user_defined_metric_needs_a_direction() -> None:
    assert parse_metric("mine", "maximize").higher_is_better


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_can_be_built(name: str) -> None:
    method = parse_method("sampler", {"name": name, "seed": 3})
    assert method is not None
    assert type(build_sampler(method, (EVERY,), 0)).__name__ == SAMPLERS[name]


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_can_be_built(name: str) -> None:
    settings = {"percentile": {"percentile": 25.0}, "threshold": {"upper": 9.0}}.get(name, {})
    method = parse_method("pruner", {"name": name, **settings})
    assert type(build_pruner(method, 500, 2_000)).__name__ == PRUNERS[name]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("sampler", "tpee", r"no such sampler: tpee. Did you mean tpe\? There are: tpe, cmaes, random, grid"),
        ("sampler", None, "no such sampler: None"),
        ("sampler", ["tpe"], r"no such sampler: \['tpe'\]. Did you mean tpe"),
        ("pruner", ["median"], r"no such pruner: \['median'\]. Did you mean median"),
        ("pruner", "medain", r"no such pruner: medain. Did you mean median\?"),
        ("sampler", {"name": "tpe", "startup": 5}, "sampler tpe takes no startup.* It takes"),
        ("sampler", {"name": "tpe", "seed": -1}, "sampler.seed=-1"),
        ("pruner", {"name": "median", "n_startup_trials": -5}, "pruner median: .*negative"),
        ("pruner", {"name": "percentile"}, "pruner percentile: .*percentile"),
        ("sampler", {"name": "tpe", "n_startup_trials": "abc"}, "sampler tpe fails with {'n_startup_trials': 'abc'}: "),
        ("sampler", {"name": "tpe", "n_ei_candidates": 0, "n_startup_trials": 500}, "sampler tpe fails with .*: "),
        ("sampler", {"name": "cmaes", "popsize": "a"}, "sampler cmaes fails with {'popsize': 'a'}: "),
        ("pruner", {"name": "hyperband", "reduction_factor": 1}, "pruner hyperband fails with .*: "),
    ],
)
def test_an_unknown_or_invalid_method_is_refused(kind: str, value: object, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        parse_method(kind, value)


def test_settings_that_delay_a_method_or_need_the_length_of_a_run_are_accepted() -> None:
    assert parse_method("pruner", {"name": "median", "n_startup_trials": 900, "n_warmup_steps": 10**12})
    assert parse_method("pruner", {"name": "hyperband", "min_resource": 5_000, "bootstrap_count": 2})
    assert parse_method("sampler", {"name": "cmaes", "popsize": 40, "n_startup_trials": 60})


def test_null_and_none_are_no_pruner() -> None:
    assert parse_method("pruner", None) is parse_method("pruner", "none") is None


def test_at_least_one_trial_is_required_and_only_a_grid_needs_no_number() -> None:
    for trials in (0, -3, 2.5, True):
        with pytest.raises(Mistake, match=f"trials={trials}"):
            plan(trials=trials)
    with pytest.raises(Mistake, match="set trials, for example trials=30"):
        plan(trials=None)
    assert plan(EVERY, KIND, trials=None, sampler="grid").n_trials == 10
    assert plan(EVERY, KIND, trials=4, sampler="grid").n_trials == 4
    with pytest.raises(Mistake, match="a grid needs a step, or choices, for rate"):
        plan(RATE, sampler="grid")
