"""Baseline files: required keys, and what is refused."""

import copy

import pytest
import yaml
from baselines import PLAIN

from saddlepoint.error import Mistake
from saddlepoint.reproduction.baseline import load_baseline, planned_runs


def write_baseline(folder, change):
    baseline = copy.deepcopy(PLAIN)
    change(baseline)
    (folder / "baseline").mkdir()
    (folder / "baseline" / "mine.yaml").write_text(yaml.safe_dump(baseline, sort_keys=False))
    return folder


def change_headline(**changes):
    return lambda baseline: baseline["headline"]["a"].update(changes)


WRONG = {
    "unknown key": (lambda b: b.update(toleranc=1), "no such key: toleranc"),
    "unknown key of a tier": (
        lambda b: b["tiers"]["smoke"].update(sead=[1]),
        r"no such key: sead\. Did you mean seeds",
    ),
    "unknown key of a headline": (change_headline(directon="lower"), r"no such key: directon\. Did you mean direction"),
    "no claim": (lambda b: b.pop("claim"), "claim missing"),
    "no hours": (lambda b: b["tiers"].update(smoke={}), "hours missing"),
    "no tier": (lambda b: b.pop("tiers"), "has no tiers"),
    "no metric": (lambda b: b["headline"]["a"].pop("metric"), "metric missing"),
    "no reason": (lambda b: b["headline"]["a"]["tolerance"].pop("why"), "why missing"),
    "no bound": (lambda b: b["headline"]["a"]["tolerance"].pop("most"), "needs a least, a most, or both"),
    "bounds crossed": (change_headline(tolerance={"least": 3, "most": 2, "why": "x"}), "above tolerance.most"),
    "published outside": (change_headline(tolerance={"most": 0.05, "why": "x"}), "lies outside its own tolerance"),
    "published too good": (change_headline(suspicious=0.15), "the published 0.1 is itself too good"),
    "no such arm": (change_headline(value="c"), "no arm c"),
    "value and contrast": (change_headline(contrast={"a": "a", "b": "b"}), "write value: <arm>, or contrast"),
    "paired that is no flag": (
        lambda b: b["headline"]["a less b"]["contrast"].update(paired="by seed"),
        r"contrast\.paired=by seed must be true or false",
    ),
    "no direction": (change_headline(direction="down"), "lower or higher"),
    "the other direction": (
        change_headline(metric="coverage_digits_900_train", direction="lower"),
        "high values are good",
    ),
    "a range of one number": (change_headline(range=[8]), "the least and the most that the score can be"),
    "a range upside down": (change_headline(range=[8, 0]), "the least and the most that the score can be"),
    "a headline's flag that is none": (
        change_headline(deterministic="perhaps"),
        "deterministic=perhaps must be true or false",
    ),
    "another protocol": (lambda b: b.update(protocol="reduced"), "protocol=reduced must be published"),
    "another statistic": (change_headline(statistic="mode"), "statistic=mode must be mean or median"),
    "the median of two arms": (
        lambda b: b["headline"]["a less b"].update(statistic="median"),
        "needs contrast.paired=true",
    ),
    "a seed twice": (lambda b: b.update(seeds=[1, 1]), "a seed twice"),
    "no seeds": (lambda b: b.update(seeds=[]), "list of integers"),
    "seeds that are none": (lambda b: b.update(seeds=[True]), "list of integers"),
    "a level of 90": (lambda b: b.update(level=90), "must lie between 0 and 1"),
    "an override that is none": (lambda b: b["arms"].update(a=[1]), "a list of overrides"),
    "a flag that is none": (lambda b: b.update(deterministic="no"), "deterministic=no must be true or false"),
    "unknown field of a contract": (
        change_headline(contract={"wieghts": "raw"}),
        r"no such key: wieghts\. Did you mean weights",
    ),
    "a spread that is none": (
        change_headline(published={"value": 0.1, "spread": "wide"}),
        r"published\.spread=wide must be a number",
    ),
    "a number that is none": (change_headline(suspicious="low"), "suspicious=low must be a number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_baseline_is_refused_with_the_reason(tmp_path, case):
    change, message = WRONG[case]
    with pytest.raises(Mistake, match=message) as caught:
        load_baseline("mine", None, write_baseline(tmp_path, change))
    assert "baseline mine" in str(caught.value)


def test_an_unreadable_file_is_refused_with_the_line(tmp_path):
    path = write_baseline(tmp_path, lambda b: None) / "baseline" / "mine.yaml"
    path.write_text("claim: a\nsource: {paper: x\narms: [}\n")
    with pytest.raises(Mistake, match=r"mine\.yaml, line [23] cannot be read"):
        load_baseline("mine", None, tmp_path)
    path.write_bytes(b"claim: \xff\xfe\n")
    with pytest.raises(Mistake, match="not UTF-8"):
        load_baseline("mine", None, tmp_path)


def test_a_number_may_name_a_baseline_and_a_tier(tmp_path):
    conf = write_baseline(tmp_path, lambda b: b["tiers"].update({1: {"hours": 1}}))
    (conf / "baseline" / "mine.yaml").rename(conf / "baseline" / "5.yaml")
    assert load_baseline(5, 1, conf).tier == "1"
    with pytest.raises(Mistake, match=r"no tier 2\. There are: smoke, full, 1"):
        load_baseline(5, 2, conf)
    with pytest.raises(Mistake, match="no such baseline: 6"):
        load_baseline(6, None, conf)


def test_the_target_is_the_published_figure_or_the_nearest_bound(tmp_path):
    conf = write_baseline(tmp_path, lambda b: b["headline"]["a"]["tolerance"].update(least=0.04))
    value, contrast = load_baseline("mine", None, conf).headlines
    assert (value.target, value.tolerance) == (0.1, (pytest.approx(0.06), pytest.approx(0.1)))
    assert (contrast.target, contrast.tolerance) == (-0.1, (None, 0.0))


def test_the_keys_of_a_tier_replace_the_top_level_ones(tmp_path):
    conf = write_baseline(
        tmp_path, lambda b: b["tiers"]["full"].update(claim="all of it", arms={"a": [], "b": ["batch=8"]})
    )
    smoke, full = load_baseline("mine", None, conf), load_baseline("mine", "full", conf)
    assert (smoke.tier, smoke.seeds, full.seeds) == ("smoke", (0, 1, 2), (0, 1, 2, 3))
    assert (smoke.claim, full.claim) == ("a is better than b.", "all of it")
    assert full.arms == {"a": (), "b": ("batch=8",)}
    assert planned_runs(smoke)[:3] == [("a", 0), ("b", 0), ("a", 1)]


def test_a_user_baseline_may_not_have_the_name_of_a_built_in_one(tmp_path):
    conf = write_baseline(tmp_path, lambda b: None)
    (conf / "baseline" / "mine.yaml").rename(conf / "baseline" / "ring_modes.yaml")
    with pytest.raises(Mistake, match="give yours another name"):
        load_baseline("ring_modes", None, conf)
