"""How a baseline is read: what it has to say, and what it cannot."""

import copy

import pytest
import yaml
from baselines import PLAIN

from saddlepoint.error import Mistake
from saddlepoint.reproduction.baseline import load_baseline, planned_runs


def written(folder, change):
    baseline = copy.deepcopy(PLAIN)
    change(baseline)
    (folder / "baseline").mkdir()
    (folder / "baseline" / "mine.yaml").write_text(yaml.safe_dump(baseline, sort_keys=False))
    return folder


def headline(**changes):
    return lambda baseline: baseline["headline"]["a"].update(changes)


WRONG = {
    "unknown key": (lambda b: b.update(toleranc=1), "no such key: toleranc"),
    "unknown key of a tier": (
        lambda b: b["tiers"]["smoke"].update(sead=[1]),
        r"no such key: sead\. Did you mean seeds",
    ),
    "unknown key of a headline": (headline(directon="lower"), r"no such key: directon\. Did you mean direction"),
    "no claim": (lambda b: b.pop("claim"), "claim missing"),
    "no hours": (lambda b: b["tiers"].update(smoke={}), "hours missing"),
    "no tier": (lambda b: b.pop("tiers"), "has no tiers"),
    "no metric": (lambda b: b["headline"]["a"].pop("metric"), "metric missing"),
    "no reason": (lambda b: b["headline"]["a"]["tolerance"].pop("why"), "why missing"),
    "no bound": (lambda b: b["headline"]["a"]["tolerance"].pop("most"), "needs a least, a most, or both"),
    "bounds crossed": (headline(tolerance={"least": 3, "most": 2, "why": "x"}), "above tolerance.most"),
    "published outside": (headline(tolerance={"most": 0.05, "why": "x"}), "lies outside its own tolerance"),
    "published too good": (headline(suspicious=0.15), "the published 0.1 is itself too good"),
    "no such arm": (headline(value="c"), "no arm c"),
    "value and contrast": (headline(contrast={"a": "a", "b": "b"}), "say value: <arm>, or contrast"),
    "pairs of what": (
        lambda b: b["headline"]["a less b"]["contrast"].update(paired="by seed"),
        r"contrast\.paired=by seed is true or false",
    ),
    "no direction": (headline(direction="down"), "lower or higher"),
    "the other direction": (headline(metric="coverage_digits_900_train", direction="lower"), "high values are good"),
    "a range of one number": (headline(range=[8]), "the least and the most that the score can be"),
    "a range upside down": (headline(range=[8, 0]), "the least and the most that the score can be"),
    "a headline that may be the same": (headline(deterministic="perhaps"), "deterministic=perhaps is true or false"),
    "a seed twice": (lambda b: b.update(seeds=[1, 1]), "one twice"),
    "no seeds": (lambda b: b.update(seeds=[]), "list of whole numbers"),
    "seeds that are none": (lambda b: b.update(seeds=[True]), "list of whole numbers"),
    "a level of 90": (lambda b: b.update(level=90), "a share between 0 and 1"),
    "a word that is none": (lambda b: b["arms"].update(a=[1]), "a list of words"),
    "an answer that is none": (lambda b: b.update(deterministic="no"), "deterministic=no is true or false"),
    "unknown field of a contract": (
        headline(contract={"wieghts": "raw"}),
        r"no such key: wieghts\. Did you mean weights",
    ),
    "a spread that is none": (
        headline(published={"value": 0.1, "spread": "wide"}),
        r"published\.spread=wide is no number",
    ),
    "a number that is none": (headline(suspicious="low"), "suspicious=low is no number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_badly_written_baseline_is_refused_in_a_line(tmp_path, case):
    change, said = WRONG[case]
    with pytest.raises(Mistake, match=said) as caught:
        load_baseline("mine", None, written(tmp_path, change))
    assert "baseline mine" in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused_with_its_line(tmp_path):
    path = written(tmp_path, lambda b: None) / "baseline" / "mine.yaml"
    path.write_text("claim: a\nsource: {paper: x\narms: [}\n")
    with pytest.raises(Mistake, match=r"mine\.yaml, line [23] cannot be read"):
        load_baseline("mine", None, tmp_path)
    path.write_bytes(b"claim: \xff\xfe\n")
    with pytest.raises(Mistake, match="not UTF-8"):
        load_baseline("mine", None, tmp_path)


def test_a_number_may_name_a_baseline_and_a_tier(tmp_path):
    own = written(tmp_path, lambda b: b["tiers"].update({1: {"hours": 1}}))
    (own / "baseline" / "mine.yaml").rename(own / "baseline" / "5.yaml")
    assert load_baseline(5, 1, own).tier == "1"
    with pytest.raises(Mistake, match=r"no tier 2\. There are: smoke, full, 1"):
        load_baseline(5, 2, own)
    with pytest.raises(Mistake, match="no such baseline: 6"):
        load_baseline(6, None, own)


def test_the_target_is_the_published_figure_or_the_nearest_bound(tmp_path):
    own = written(tmp_path, lambda b: b["headline"]["a"]["tolerance"].update(least=0.04))
    value, contrast = load_baseline("mine", None, own).headlines
    assert (value.target, value.tolerance) == (0.1, (pytest.approx(0.06), pytest.approx(0.1)))
    assert (contrast.target, contrast.tolerance) == (-0.1, (None, 0.0))


def test_what_a_tier_says_replaces_what_stands_above_it(tmp_path):
    own = written(tmp_path, lambda b: b["tiers"]["full"].update(claim="all of it", arms={"a": [], "b": ["batch=8"]}))
    smoke, full = load_baseline("mine", None, own), load_baseline("mine", "full", own)
    assert (smoke.tier, smoke.seeds, full.seeds) == ("smoke", (0, 1, 2), (0, 1, 2, 3))
    assert (smoke.claim, full.claim) == ("a is better than b.", "all of it")
    assert full.arms == {"a": (), "b": ("batch=8",)}
    assert planned_runs(smoke)[:3] == [("a", 0), ("b", 0), ("a", 1)]


def test_a_baseline_of_ones_own_may_not_hide_one_of_ours(tmp_path):
    own = written(tmp_path, lambda b: None)
    (own / "baseline" / "mine.yaml").rename(own / "baseline" / "ring_modes.yaml")
    with pytest.raises(Mistake, match="give yours another name"):
        load_baseline("ring_modes", None, own)
