"""Rules: raised after so many looks in a row, cleared once, silent between; each remedy can be typed."""

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


def told(rule, values, between=1000):
    """(look, what happened) of each look at which something did."""
    happened = [
        rule.observe({rule.reading: v} if v is not None else {}, between * (i + 1)) for i, v in enumerate(values)
    ]
    return [(i, what) for i, what in enumerate(happened) if what]


def test_an_alarm_waits_for_so_many_looks_in_a_row_and_is_raised_once():
    assert told(Overfitting(0.75, 0.65, 3), [0.8, 0.8, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9]) == [(5, RAISED)]


def test_between_the_bounds_nothing_changes():
    trembling = [0.76, 0.74] * 10
    assert told(Overfitting(0.75, 0.65, 1), trembling) == [(0, RAISED)]
    assert told(Overfitting(0.75, 0.65, 1), [0.8, 0.7, 0.6, 0.7, 0.8]) == [(0, RAISED), (2, CLEARED), (4, RAISED)]


def test_a_bound_itself_is_not_beyond():
    assert told(Overfitting(0.75, 0.65, 1), [0.75]) == []
    assert told(Overfitting(0.75, 0.65, 1), [0.76, 0.65]) == [(0, RAISED), (1, CLEARED)]


def test_a_look_without_a_reading_changes_nothing():
    assert told(Overfitting(0.75, 0.65, 2), [0.8, None, None, 0.8]) == [(3, RAISED)]


def test_no_look_counts_before_its_time():
    assert told(Overfitting(0.75, 0.65, 2, since=3000), [0.9] * 6) == [(3, RAISED)]


@pytest.mark.parametrize("name", RULES)
def test_each_rule_has_its_bounds_the_right_way_round_and_refuses_the_other(name):
    rule = RULES[name]()
    with pytest.raises(ValueError, match=rf"{name}: clear_at=.* must be (below|above) raise_at"):
        RULES[name](rule.clear_at, rule.raise_at)
    with pytest.raises(ValueError, match="after=0"):
        RULES[name](after=0)
    with pytest.raises(ValueError, match="since=-1"):
        RULES[name](since=-1)


def test_a_young_generator_is_no_collapsed_one_and_a_constant_one_is():
    young = [0.0008, 0.0034, 0.0009, 0.05, 0.1]  # seed 100, the least seen
    assert told(Collapse(), young, 6400) == []
    assert told(Collapse(), [0.0, 1e-9], 6400) == [(1, RAISED)]


def test_a_generator_that_never_becomes_diverse_is_told_of_later():
    looks = told(Collapse(), [0.003] * 12, 6400)
    assert looks == [(10, RAISED)]  # 70,400 images: the second look after 60,000
    assert 0.2 * CONSTANT < 0.003 < 0.2 * DIVERSE


def test_a_collapse_is_measured_by_what_this_generator_had_reached():
    assert told(Collapse(), [0.1, 0.4, 0.07, 0.07, 0.2]) == [(3, RAISED), (4, CLEARED)]
    assert told(Collapse(), [0.1, 0.2, 0.07, 0.07]) == []


def test_a_generator_that_began_more_diverse_than_the_reals_is_held_against_what_these_have():
    assert told(Collapse(), [6.48, 6.48, 1.0, 0.9, 0.3, 0.25]) == []  # 0.2 of 6.48 is 1.3: perfect data would alarm
    assert told(Collapse(), [6.48, 0.9, 0.19, 0.19, 0.41]) == [(3, RAISED), (4, CLEARED)]
    rule = Collapse()
    rule.state = {"raised": False, "row": 0, "reached": 6.48}  # of a checkpoint that was written before
    assert told(rule, [0.9, 0.9, 0.21, 0.21]) == []


@pytest.mark.parametrize("name", list(RULES))
def test_no_rule_alarms_at_what_perfect_data_would_read(name):
    rule = RULES[name]()
    rule.observe({"diversity": 50.0, "pixel_freedom": 50.0, "logit_spread": 50.0}, 6400)  # an untrained one
    perfect = {
        "diversity": 1.0, "pixel_freedom": 1.0, "train_over_held_out": 0.5, "real_over_fake": 0.5, "magnitude": 0.0,
        "generator_signal": 0.5, "logit_spread": 1.0,
    }  # fmt: skip
    assert [rule.observe(perfect, 6400 * look) for look in range(2, 20)] == [None] * 18


def test_a_flat_loss_is_saturation_only_where_the_generator_has_lost():
    lost, fooled = {"generator_signal": 1e-4, "real_over_fake": 1.0}, {"generator_signal": 1e-4, "real_over_fake": 0.4}
    rule = Saturation(after=1)
    assert rule.observe(fooled, 1) is None
    assert rule.observe(lost, 2) == RAISED
    assert rule.event_record(RAISED, lost, 2)["reading"] == "generator_signal"
    pixels = {"pixel_freedom": 0.0, "real_over_fake": 1.0, "generator_signal": 1.0}
    assert Saturation(after=1).event_record(RAISED, pixels, 2)["reading"] == "pixel_freedom"


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_rule_taken_up_from_its_state_goes_on_as_if_nothing_had_been(cut):
    values = [0.1, 0.4, 0.05, 0.05, 0.3, 0.01, 0.01]
    whole = told(Collapse(), values)
    first, second = Collapse(), Collapse()
    early = told(first, values[:cut])
    second.state = first.state
    late = [(i + cut, what) for i, what in told(second, values[cut:])]
    assert early + late == whole


# ------------------------------------------------------------------------------------------------ what can be set


@pytest.mark.parametrize(
    ("settings", "parts"),
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
def test_a_setting_that_is_none_is_told_with_what_was_meant(settings, parts):
    with pytest.raises(Mistake) as caught:
        Health(**settings)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("settings", [{"images_between": 0}, {"images_between": 2.5}, {"n": 1}])
def test_a_count_below_its_least_is_refused(settings):
    with pytest.raises(ValueError, match="whole number of at least"):
        Health(**settings)


def test_stop_names_rules_or_all_of_them():
    assert Health(stop=["any"]).stop == set(RULES)
    assert Health(stop=None).stop == Health().stop == frozenset()
    assert Health(stop=["collapse", "explosion"]).stop == {"collapse", "explosion"}


def test_a_rule_can_be_left_out_and_one_of_ones_own_put_in():
    class Mine(Explosion):
        name = "mine"

    kept = Health(rules={"collapse": None, "mine": Mine()}, stop=["mine"]).rules
    assert set(kept) == set(RULES) - {"collapse"} | {"mine"}


def test_the_yaml_says_the_bounds_that_the_code_says():
    rules = compose([]).callback.health.rules
    assert list(rules) == list(RULES)
    for name, own in rules.items():
        plain, said = RULES[name](), RULES[name](**own)
        assert vars(plain) == vars(said), name


# ------------------------------------------------------------------------------------------------ what to type


def test_what_a_page_says_to_type_composes_with_the_runs_own_words():
    own = ["objective=minimax", "+regularizer=gradient_penalty"]
    config = OmegaConf.to_container(compose(own), resolve=True)
    typed = {
        name: [remedy_overrides(remedy.overrides, config) for remedy in rule.remedies] for name, rule in RULES.items()
    }
    assert all(any(words) for words in typed.values())
    assert "regularizer.discriminator.gradient_penalty.weight=1" in typed["explosion"]
    together: list[dict[str, list[str]]] = []  # few command lines, for each takes its time; of a group one remedy
    for words in dict.fromkeys(words for own in typed.values() for words in own if words):
        groups: dict[str, list[str]] = {}
        for word in shlex.split(words):
            groups.setdefault(re.split(r"[.=@]", word.strip("+"))[0], []).append(word)
        place = next((line for line in together if not line.keys() & groups.keys()), None)
        together.append(groups) if place is None else place.update(groups)
    for line in together:
        check(compose([*own, *(word for said in line.values() for word in said)]))


def test_what_a_run_has_already_is_not_advised():
    config = {"choice": {"regularizer": ["r1"], "objective": "hinge"}, "lr": 0.5, "a": {"b": [64]}}
    assert remedy_overrides("'+regularizer=r1'", config) is None
    assert remedy_overrides("'+regularizer=r2'", config) == "'+regularizer=r2'"
    assert remedy_overrides("objective=hinge", config | {"objective": {}}) is None
    assert remedy_overrides("a.b=[64]", config) is None
    assert remedy_overrides("a.c=1", config) is None  # this run has no such key
    assert remedy_overrides("lr=<lr / 10>", config) == "lr=0.05"
    assert remedy_overrides("lr=<nowhere / 10>", config) is None
    assert remedy_overrides("regularizer.discriminator.<penalty>.weight=1", config) is None
    assert remedy_overrides("", config) == ""


def test_a_rule_of_ones_own_is_built_from_words(tmp_path, monkeypatch):
    (tmp_path / "myrules.py").write_text(
        "from saddlepoint.health.explosion import Explosion\n\n\nclass Mine(Explosion):\n    name = 'mine'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = compose(["+callback.health.rules.mine={_target_:myrules.Mine,raise_at:9.0}", "allow_target=[myrules]"])
    check(config)
    rules = instantiate(config.callback.health, "callback.health").rules
    assert rules["mine"].raise_at == 9
    assert rules["explosion"].raise_at == 2.5


def test_a_mistyped_rule_is_told_by_its_path_when_a_run_is_built():
    for word in ("callback.health.stop=[overfiting]", "+callback.health.rules.overfiting={after:1}"):
        with pytest.raises(Mistake, match="Did you mean overfitting"):
            instantiate(compose([word]).callback.health, "callback.health")
    with pytest.raises(Mistake, match="images_between=0"):
        instantiate(compose(["callback.health.images_between=0"]).callback.health, "callback.health")
