"""What is asked of a search: dimensions, methods, the score; and what cannot be meant."""

import pytest
from formula import EVERY, KIND, RATE, plan

from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, metric_of
from saddlepoint.error import Mistake
from saddlepoint.sweep.method import PRUNERS, SAMPLERS, build_pruner, build_sampler, parse_method
from saddlepoint.sweep.plan import parse_metric
from saddlepoint.sweep.space import Range


def test_a_range_of_whole_numbers_is_whole_and_any_other_is_not() -> None:
    assert list(Range("n", 1, 9, step=4).values or ()) == [1, 5, 9]
    assert Range("x", 0.0, 0.3, step=0.1).values == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert EVERY.distribution.to_external_repr(3.0) == 3
    assert EVERY.overrides(3) == ("every=3",)
    assert Range("x", 1.0, 5.0).values is None
    assert Range("x", 1, 5.0).overrides(0.1 + 0.2) == ("x=0.30000000000000004",)  # the very number


def test_a_choice_says_words() -> None:
    assert KIND.overrides("b") == ("kind=b",)
    assert KIND.values == ["a", "b"]


@pytest.mark.parametrize(("metric", "direction"), [("fid", "minimize"), ("coverage", "maximize"), ("kid", "minimize")])
def test_the_direction_of_a_known_metric_is_known(metric: str, direction: str) -> None:
    assert parse_metric(metric).direction == direction
    assert parse_metric(f"{metric}_digits-b_450_validation").direction == direction


def test_every_metric_is_told_from_its_key_and_from_longer_names() -> None:
    for metric in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        for extractor in ("", "_digits", "_digits-b", "_identity"):
            assert metric_of(f"{metric}{extractor}_5k_validation") == metric
    assert metric_of("mine_digits_450_validation", "mine") == "mine"


def test_the_score_is_looked_for_on_the_validation_split_alone() -> None:
    keys = ["images", "fid_digits_900_train", "fid_infinity_digits_450_validation", "fid_digits_450_validation",
            "fid_digits-b_450_validation", "fid_digits_450_validation_std", "fid_digits_450_test"]  # fmt: skip
    assert parse_metric("fid").find_key(keys) == "fid_digits_450_validation"
    assert parse_metric("fid_digits-b_450_validation").find_key(keys) == "fid_digits-b_450_validation"
    assert parse_metric("fid_infinity").find_key(keys) == "fid_infinity_digits_450_validation"
    assert parse_metric("coverage").find_key(keys) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("fid_digits_900_train",), "metric: fid_digits_900_train is measured on reals that are reported"),
        (("coverage_digits_450_test",), "metric: coverage$"),
        (("fidd",), r"nobody knows whether more of it is better. Did you mean fid\?"),
        (("fid", "maximize"), "of fid, low values are good"),
        (("mine", "down"), "it is minimize or maximize"),
    ],
)
def test_a_score_that_cannot_be_meant_is_refused(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(Mistake, match=told):
        parse_metric(*words)


def test_a_metric_of_ones_own_needs_a_direction() -> None:
    assert parse_metric("mine", "maximize").higher_is_better


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_there_with_a_seed_of_each_trials_own(name: str) -> None:
    made = parse_method("sampler", {"name": name, "seed": 3})
    assert made is not None
    assert type(build_sampler(made, (EVERY,), 0)).__name__ == SAMPLERS[name]


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_is_there(name: str) -> None:
    settings = {"percentile": {"percentile": 25.0}, "threshold": {"upper": 9.0}}.get(name, {})
    made = parse_method("pruner", {"name": name, **settings})
    assert type(build_pruner(made, 500, 2_000)).__name__ == PRUNERS[name]


@pytest.mark.parametrize(
    ("kind", "said", "told"),
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
def test_a_method_that_there_is_none_of_is_refused(kind: str, said: object, told: str) -> None:
    with pytest.raises(Mistake, match=told):
        parse_method(kind, said)


def test_settings_that_wait_long_or_need_a_runs_length_are_no_mistake() -> None:
    assert parse_method("pruner", {"name": "median", "n_startup_trials": 900, "n_warmup_steps": 10**12})
    assert parse_method("pruner", {"name": "hyperband", "min_resource": 5_000, "bootstrap_count": 2})
    assert parse_method("sampler", {"name": "cmaes", "popsize": 40, "n_startup_trials": 60})


def test_no_pruner_is_null_or_none() -> None:
    assert parse_method("pruner", None) is parse_method("pruner", "none") is None


def test_trials_are_at_least_one_and_only_a_grid_has_an_end() -> None:
    for trials in (0, -3, 2.5, True):
        with pytest.raises(Mistake, match=f"trials={trials}"):
            plan(trials=trials)
    with pytest.raises(Mistake, match="how many trials"):
        plan(trials=None)
    assert plan(EVERY, KIND, trials=None, sampler="grid").n_trials == 10
    assert plan(EVERY, KIND, trials=4, sampler="grid").n_trials == 4
    with pytest.raises(Mistake, match="a grid needs a step, or choices, for rate"):
        plan(RATE, sampler="grid")
