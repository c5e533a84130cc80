"""Rules: raised after consecutive checks, cleared once, unchanged between the bounds; remedies compose."""

import re
import shlex

import pytest
from omegaconf import OmegaConf

from saddlepoint.callback.health import RULES, Health
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.error import Mistake
from saddlepoint.health.collapse import CONSTANT, DIVERSE, Collapse
from saddlepoint.health.explosion import Explosion
from saddlepoint.health.overfitting import Overfitting
from saddlepoint.health.remedy import remedy_overrides
from saddlepoint.health.rule import CLEARED, RAISED
from saddlepoint.health.saturation import Saturation


def observe_all(rule, values, between=1000):
    """Return (check, change) for each check that changes the state of the rule."""
    changes = [
        rule.observe({rule.reading: v} if v is not None else {}, between * (i + 1)) for i, v in enumerate(values)
    ]
    return [(i, change) for i, change in enumerate(changes) if change]


def test_an_alarm_is_raised_once_after_consecutive_checks():
    assert observe_all(Overfitting(0.75, 0.65, 3), [0.8, 0.8, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9]) == [(5, RAISED)]


def test_between_the_bounds_the_state_does_not_change():
    trembling = [0.76, 0.74] * 10
    assert observe_all(Overfitting(0.75, 0.65, 1), trembling) == [(0, RAISED)]
    assert observe_all(Overfitting(0.75, 0.65, 1), [0.8, 0.7, 0.6, 0.7, 0.8]) == [
        (0, RAISED),
        (2, CLEARED),
        (4, RAISED),
    ]


def test_a_value_equal_to_the_bound_is_not_beyond_it():
    assert observe_all(Overfitting(0.75, 0.65, 1), [0.75]) == []
    assert observe_all(Overfitting(0.75, 0.65, 1), [0.76, 0.65]) == [(0, RAISED), (1, CLEARED)]


def test_a_check_without_a_reading_changes_nothing():
    assert observe_all(Overfitting(0.75, 0.65, 2), [0.8, None, None, 0.8]) == [(3, RAISED)]


def test_checks_before_since_are_ignored():
    assert observe_all(Overfitting(0.75, 0.65, 2, since=3000), [0.9] * 6) == [(3, RAISED)]


@pytest.mark.parametrize("name", RULES)
def test_each_rule_refuses_bounds_in_the_wrong_order(name):
    rule = RULES[name]()
    with pytest.raises(ValueError, match=rf"{name}: clear_at=.* must be (below|above) raise_at"):
        RULES[name](rule.clear_at, rule.raise_at)
    with pytest.raises(ValueError, match="after=0"):
        RULES[name](after=0)
    with pytest.raises(ValueError, match="since=-1"):
        RULES[name](since=-1)


def test_only_a_constant_generator_raises_the_alarm_early():
    young = [0.0008, 0.0034, 0.0009, 0.05, 0.1]  # seed 100, the smallest measured
    assert observe_all(Collapse(), young, 6400) == []
    assert observe_all(Collapse(), [0.0, 1e-9], 6400) == [(1, RAISED)]


def test_a_generator_that_never_becomes_diverse_raises_the_alarm_later():
    changes = observe_all(Collapse(), [0.003] * 12, 6400)
    assert changes == [(10, RAISED)]  # 70,400 images: the second check after 60,000
    assert 0.2 * CONSTANT < 0.003 < 0.2 * DIVERSE


def test_collapse_is_relative_to_the_diversity_that_was_reached():
    assert observe_all(Collapse(), [0.1, 0.4, 0.07, 0.07, 0.2]) == [(3, RAISED), (4, CLEARED)]
    assert observe_all(Collapse(), [0.1, 0.2, 0.07, 0.07]) == []


def test_the_reached_diversity_is_at_most_that_of_the_reals():
    assert (
        observe_all(Collapse(), [6.48, 6.48, 1.0, 0.9, 0.3, 0.25]) == []
    )  # 0.2 of 6.48 is 1.3: perfect data would alarm
    assert observe_all(Collapse(), [6.48, 0.9, 0.19, 0.19, 0.41]) == [(3, RAISED), (4, CLEARED)]
    rule = Collapse()
    rule.state = {"raised": False, "row": 0, "reached": 6.48}  # from an older checkpoint
    assert observe_all(rule, [0.9, 0.9, 0.21, 0.21]) == []


@pytest.mark.parametrize("name", list(RULES))
def test_no_rule_raises_an_alarm_for_perfect_samples(name):
    rule = RULES[name]()
    rule.observe({"diversity": 50.0, "pixel_freedom": 50.0, "logit_spread": 50.0}, 6400)  # an untrained G
    perfect = {
        "diversity": 1.0, "pixel_freedom": 1.0, "train_over_held_out": 0.5, "real_over_fake": 0.5, "magnitude": 0.0,
        "generator_signal": 0.5, "logit_spread": 1.0,
    }  # fmt: skip
    assert [rule.observe(perfect, 6400 * check) for check in range(2, 20)] == [None] * 18


def test_a_flat_loss_is_saturation_only_if_the_generator_has_lost():
    lost, fooled = {"generator_signal": 1e-4, "real_over_fake": 1.0}, {"generator_signal": 1e-4, "real_over_fake": 0.4}
    rule = Saturation(after=1)
    assert rule.observe(fooled, 1) is None
    assert rule.observe(lost, 2) == RAISED
    assert rule.event_record(RAISED, lost, 2)["reading"] == "generator_signal"
    pixels = {"pixel_freedom": 0.0, "real_over_fake": 1.0, "generator_signal": 1.0}
    assert Saturation(after=1).event_record(RAISED, pixels, 2)["reading"] == "pixel_freedom"


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_rule_restored_from_its_state_continues_unchanged(cut):
    values = [0.1, 0.4, 0.05, 0.05, 0.3, 0.01, 0.01]
    expected = observe_all(Collapse(), values)
    first, second = Collapse(), Collapse()
    early = observe_all(first, values[:cut])
    second.state = first.state
    late = [(i + cut, what) for i, what in observe_all(second, values[cut:])]
    assert early + late == expected


# ------------------------------------------------------------------------------------------------ what can be set


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        ({"stop": ["overfiting"]}, ["stop", "no rule overfiting", "Did you mean overfitting?", "explosion"]),
        ({"stop": "colapse"}, ["Did you mean collapse?"]),
        ({"rules": {"colapse": {}}}, ["rules.colapse", "Did you mean collapse?"]),
        ({"rules": {"collapse": {"rais_at": 1}}}, ["rules.collapse.rais_at", "Did you mean raise_at?"]),
        (
            {"rules": {"overfitting": {"raise_at": 0.5, "clear_at": 0.6}}},
            ["overfitting: clear_at=0.6", "below raise_at"],
        ),
        ({"rules": {"collapse": None}, "stop": ["collapse"]}, ["no rule collapse"]),
    ],
)
def test_an_unknown_setting_is_refused_with_a_suggestion(settings, fragments):
    with pytest.raises(Mistake) as caught:
        Health(**settings)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize("settings", [{"images_between": 0}, {"images_between": 2.5}, {"n": 1}])
def test_a_count_below_its_minimum_is_refused(settings):
    with pytest.raises(ValueError, match="integer of at least"):
        Health(**settings)


def test_stop_takes_names_of_rules_or_any():
    assert Health(stop=["any"]).stop == set(RULES)
    assert Health(stop=None).stop == Health().stop == frozenset()
    assert Health(stop=["collapse", "explosion"]).stop == {"collapse", "explosion"}


def test_a_rule_can_be_left_out_and_a_user_defined_one_added():
    class Mine(Explosion):
        name = "mine"

    rules = Health(rules={"collapse": None, "mine": Mine()}, stop=["mine"]).rules
    assert set(rules) == set(RULES) - {"collapse"} | {"mine"}


def test_the_yaml_and_the_code_have_the_same_bounds():
    rules = compose([]).callback.health.rules
    assert list(rules) == list(RULES)
    for name, settings in rules.items():
        default, configured = RULES[name](), RULES[name](**settings)
        assert vars(default) == vars(configured), name


# ------------------------------------------------------------------------------------------------ what to type


def test_the_overrides_of_the_post_mortem_compose_with_those_of_the_run():
    settings = ["objective=minimax", "+regularizer=gradient_penalty"]
    config = OmegaConf.to_container(compose(settings), resolve=True)
    typed = {
        name: [remedy_overrides(remedy.overrides, config) for remedy in rule.remedies] for name, rule in RULES.items()
    }
    assert all(any(overrides) for overrides in typed.values())
    assert "regularizer.discriminator.gradient_penalty.weight=1" in typed["explosion"]
    command_lines: list[
        dict[str, list[str]]
    ] = []  # few command lines, as each takes time; at most one remedy per group
    for remedy in dict.fromkeys(overrides for remedies in typed.values() for overrides in remedies if overrides):
        groups: dict[str, list[str]] = {}
        for override in shlex.split(remedy):
            groups.setdefault(re.split(r"[.=@]", override.strip("+"))[0], []).append(override)
        free = next((line for line in command_lines if not line.keys() & groups.keys()), None)
        command_lines.append(groups) if free is None else free.update(groups)
    for line in command_lines:
        check(compose([*settings, *(override for overrides in line.values() for override in overrides)]))


def test_overrides_that_are_set_or_do_not_apply_are_left_out():
    config = {"choice": {"regularizer": ["r1"], "objective": "hinge"}, "lr": 0.5, "a": {"b": [64]}}
    assert remedy_overrides("'+regularizer=r1'", config) is None
    assert remedy_overrides("'+regularizer=r2'", config) == "'+regularizer=r2'"
    assert remedy_overrides("objective=hinge", config | {"objective": {}}) is None
    assert remedy_overrides("a.b=[64]", config) is None
    assert remedy_overrides("a.c=1", config) is None  # the config has no such key
    assert remedy_overrides("lr=<lr / 10>", config) == "lr=0.05"
    assert remedy_overrides("lr=<nowhere / 10>", config) is None
    assert remedy_overrides("regularizer.discriminator.<penalty>.weight=1", config) is None
    assert remedy_overrides("", config) == ""


def test_a_user_defined_rule_is_built_from_overrides(tmp_path, monkeypatch):
    (tmp_path / "myrules.py").write_text(
        "from saddlepoint.health.explosion import Explosion\n\n\nclass Mine(Explosion):\n    name = 'mine'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = compose(["+callback.health.rules.mine={_target_:myrules.Mine,raise_at:9.0}", "allow_target=[myrules]"])
    check(config)
    rules = instantiate(config.callback.health, "callback.health").rules
    assert rules["mine"].raise_at == 9
    assert rules["explosion"].raise_at == 2.5


def test_a_mistyped_rule_is_refused_with_its_key_when_a_run_is_built():
    for override in ("callback.health.stop=[overfiting]", "+callback.health.rules.overfiting={after:1}"):
        with pytest.raises(Mistake, match="Did you mean overfitting"):
            instantiate(compose([override]).callback.health, "callback.health")
    with pytest.raises(Mistake, match="images_between=0"):
        instantiate(compose(["callback.health.images_between=0"]).callback.health, "callback.health")
