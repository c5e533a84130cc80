"""A verdict, what it stands on, and what may not count."""

import copy
import json
from dataclasses import replace

import pytest
import yaml
from baselines import GOOD, PLAIN, SCORE, Home, pretended
from omegaconf import OmegaConf

from saddlepoint.cli import main
from saddlepoint.comparison.stats.interval import Interval
from saddlepoint.config import catalogue
from saddlepoint.evaluation.contract import Score
from saddlepoint.reproduction import reproduce
from saddlepoint.reproduction.baseline import load_baseline
from saddlepoint.reproduction.verdict import score_range
from saddlepoint.run import provenance
from saddlepoint.run.folder import Run
from saddlepoint.run.repository import UNCOMMITTED, GitStatus


def test_the_range_of_a_score_is_the_headline_s_or_that_of_a_share_or_of_a_count_of_modes():
    headline = load_baseline("ring_modes", "smoke").headlines[0].model_copy(update={"range": None})
    modes = {"modes": [{"points": 1}] * 8}
    for metric, detail, expected in (
        ("modes_captured", modes, Interval(0, 8)),
        ("class_modes_captured_20", {"counts": [1] * 10}, Interval(0, 10)),
        ("coverage", {}, Interval(0, 1)),
        ("fid", {}, None),
        ("modes_captured", {}, None),
    ):
        score = Score(7.0, replace(SCORE, metric=metric), detail=detail)
        assert score_range(headline, [score, score]) == expected
    assert score_range(headline.model_copy(update={"range": (0, 9)}), [score]) == Interval(0, 9)


def test_runs_that_all_have_one_score_are_undecided_and_those_that_cannot_differ_are_met(home):
    """Errors are shares, and two runs of one error tell nothing of a third's."""
    same = {"a": [0.10] * 3, "b": [0.40] * 3}
    code, certificate, _ = told(home, same)
    assert (code, certificate["verdict"]) == (2, "UNDECIDED")
    exact = copy.deepcopy(PLAIN)
    for one in exact["headline"].values():
        one["deterministic"] = True
    exact["headline"]["a less b"]["contrast"]["paired"] = True
    home.write("plain", exact)
    code, certificate, _ = told(home, same, "retrain=true")
    assert (code, certificate["verdict"]) == (0, "MET")


@pytest.fixture
def home(tmp_path, monkeypatch):
    made = Home(tmp_path, monkeypatch)
    made.monkeypatch = monkeypatch
    made.write("plain", PLAIN)
    return made


def told(home, values, *words, **changes):
    """The exit code, and the certificate, of runs that end so."""
    home.monkeypatch.setattr(reproduce, "train_all", trained := pretended(values, **changes))
    code = home.reproduce("plain", *words)
    path = home.certificate("plain")
    return code, json.loads(path.read_text()) if path.exists() else {}, trained.asked


@pytest.mark.parametrize(
    ("values", "code", "verdicts"),
    [
        (GOOD, 0, ["MET", "MET"]),
        ({**GOOD, "a": [0.30, 0.31, 0.32]}, 1, ["NOT MET", "UNDECIDED"]),
        ({"a": [0.10, 0.20, 0.25], "b": [0.80, 0.81, 0.82]}, 2, ["UNDECIDED", "MET"]),
        ({**GOOD, "b": [0.10, 0.11, 0.12]}, 1, ["MET", "NOT MET"]),
        ({**GOOD, "a": [0.01, 0.02, 0.01]}, 1, ["NOT MET", "MET"]),  # too good
    ],
)
def test_the_exit_code_is_that_of_the_worst_headline(home, values, code, verdicts):
    found, certificate, _ = told(home, values)
    assert found == code
    assert [headline["verdict"] for headline in certificate["headlines"]] == verdicts
    assert certificate["verdict"] == {0: "MET", 1: "NOT MET", 2: "UNDECIDED"}[code]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "a, seed 1: missing"),
        ("diverged", "a, seed 1: diverged (what happened)"),
        ("failed", "a, seed 1: failed (what happened)"),
        ("running", "a, seed 1: running"),
        (float("nan"), "1 of 3 scores: nan"),
    ],
)
def test_a_run_without_a_number_is_not_met_and_named(home, value, said):
    code, certificate, _ = told(home, {**GOOD, "a": [0.1, value, 0.1]})
    assert code == 1
    assert said in certificate["headlines"][0]["why"]
    assert certificate["headlines"][0]["verdict"] == "NOT MET"
    assert (certificate["headlines"][0]["n"], certificate["headlines"][0]["values"]["a"]["1"]) == (2, None)
    assert len(certificate["environments"]) == 1


def test_where_no_run_began_nothing_is_certified(home, capsys):
    code, certificate, asked = told(home, {arm: [None] * 3 for arm in GOOD})
    assert (code, certificate, len(asked)) == (1, {}, 6)
    assert "no run began" in capsys.readouterr().err


def test_a_score_under_another_contract_is_not_met_and_the_field_is_named(home):
    code, certificate, _ = told(home, GOOD, split="validation")
    assert code == 1
    assert "no error_discriminator_450_test among its final scores" in certificate["headlines"][0]["why"]


def test_a_contract_that_the_baseline_does_not_expect_is_named(home):
    baseline = copy.deepcopy(PLAIN)
    baseline["headline"]["a"]["contract"] = {"weights": "raw"}
    home.write("plain", baseline)
    _, certificate, _ = told(home, GOOD)
    assert "measured with weights=averaged, and the baseline is of weights=raw" in certificate["headlines"][0]["why"]


def test_the_verdict_is_on_stdout_and_with_json_the_certificate_alone(home, capsys):
    assert told(home, GOOD)[0] == 0
    out = capsys.readouterr().out
    assert "MET       a: " in out
    assert f"MET: {home.certificate('plain').with_suffix('.md')}" in out
    code, certificate, _ = told(home, GOOD, "--json")
    assert code == 0
    printed = json.loads(capsys.readouterr().out)
    assert {key: printed[key] for key in ("verdict", "headlines", "runs")} == {
        key: certificate[key] for key in ("verdict", "headlines", "runs")
    }


def test_the_certificate_tells_what_somebody_else_needs(home):
    _, certificate, asked = told(home, GOOD)
    assert asked == [f"{arm} seed={seed}" for seed in (0, 1, 2) for arm in ("a", "b")]
    first, second = certificate["headlines"]
    assert first["values"] == {"a": {"0": 0.10, "1": 0.11, "2": 0.12}}
    assert first["mean"] == pytest.approx(0.11)
    assert first["distance"] == pytest.approx(0.01)
    half = 2.91998558 * 0.01 / 3**0.5  # t with 2 degrees of freedom, 95%
    assert first["interval"] == pytest.approx([0.11 - half, 0.11 + half])
    assert second["mean"] == pytest.approx(-0.30)
    assert len(certificate["file"]["sha256"]) == 64
    assert certificate["file"]["commit"] == certificate["code"]["commit"]
    assert certificate["hours"]["spent"] == pytest.approx(6 * 36 / 3600)
    assert certificate["data"] == {"digits test": "0" * 64}
    assert len(certificate["environments"]) == 1
    page = home.certificate("plain").with_suffix(".md").read_text()
    for part in ("# plain, tier smoke: MET", "0000.00000", "0.1 ± 0.01 (standard deviation, n = 10)", "at most 0.2",
                 certificate["code"]["commit"], certificate["file"]["sha256"], "0: 0.1, 1: 0.11, 2: 0.12"):  # fmt: skip
        assert part in page
    assert str(home.outputs) not in json.dumps(certificate["runs"])


def test_where_runs_of_a_seed_share_all_else_their_differences_are_judged(home):
    """Seeds a deviation of 0.1 apart, and in each pair 0.02 between: Welch's interval would be 0.3 wide."""
    baseline = copy.deepcopy(PLAIN)
    baseline["headline"] = {"a less b": baseline["headline"]["a less b"]}
    baseline["headline"]["a less b"] |= {
        "contrast": {"a": "a", "b": "b", "paired": True}, "tolerance": {"least": -0.03, "most": -0.01, "why": "x"},
    }  # fmt: skip
    home.write("plain", baseline)
    code, certificate, _ = told(home, {"a": [0.1, 0.2, 0.3], "b": [0.12, 0.22, 0.32]})
    assert (code, certificate["headlines"][0]["mean"]) == (0, pytest.approx(-0.02))
    assert certificate["headlines"][0]["interval"] == pytest.approx([-0.02, -0.02])


def test_a_tier_takes_its_own_words_and_seeds(home):
    values = {arm: [*own, own[-1]] for arm, own in GOOD.items()}
    _, _, asked = told(home, values, "tier=full")
    assert len(asked) == 8
    assert home.certificate("plain", "full").exists()
    assert load_baseline("plain", "full", home.conf).hours == 9


# ------------------------------------------------------------------------------------------------ runs that are there


def test_runs_that_match_are_not_trained_again(home):
    told(home, GOOD)
    code, certificate, asked = told(home, GOOD)
    assert (code, asked) == (0, [])
    assert all(run["reused"] for run in certificate["runs"])


@pytest.mark.parametrize("status", ["diverged", "stopped"])
def test_a_run_that_diverged_or_was_stopped_by_an_alarm_counts_and_is_not_tried_again(home, status):
    told(home, {**GOOD, "a": [0.1, status, 0.1]})
    code, certificate, asked = told(home, GOOD)
    assert (code, asked) == (1, [])
    assert f"a, seed 1: {status} (what happened)" in certificate["headlines"][0]["why"]


def run_of(home, arm="a", seed=1):
    (found,) = [run for run in told(home, GOOD)[1]["runs"] if (run["arm"], run["seed"]) == (arm, seed)]
    return Run(home.outputs / "reproduce" / "plain-smoke" / found["folder"])


EDITS = {
    "another length": (lambda c, p: c.update(images=7), "images is 7, not 500000"),
    "another objective": (lambda c, p: c.objective.update(generator=None), "objective.generator"),
    "another measure": (lambda c, p: c.evaluation.update(n=10), "evaluation.n is 10, not None"),
    "another seed": (lambda c, p: c.update(seed=5), "seed is 5, not 1"),
    "another commit": (lambda c, p: p["git"].update(commit="f" * 40), "at commit ffffffffffff, not"),
    "a dirty tree": (lambda c, p: p["git"].update(dirty=True), "a tree that was not clean"),
    "an earlier start": (lambda c, p: p.update(earlier=[{"git": {"commit": "e" * 40, "dirty": False}}]), "eeeeeeee"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_run_that_does_not_match_is_refused_with_the_reason_and_moved_aside_on_demand(home, capsys, edit):
    run = run_of(home)
    change, said = EDITS[edit]
    config, record = OmegaConf.load(run.config), json.loads((run.folder / "provenance.json").read_text())
    change(config, record)
    OmegaConf.save(config, run.config)
    (run.folder / "provenance.json").write_text(json.dumps(record))
    code, _, asked = told(home, GOOD)
    assert (code, asked) == (1, [])
    error = capsys.readouterr().err
    assert "cannot count as a seed=1" in error
    assert said in error
    code, _, asked = told(home, GOOD, "retrain=true")
    assert (code, asked) == (0, ["a seed=1"])
    assert run.folder.with_name("seed1-old1").exists()


def test_where_a_run_lies_and_works_does_not_count(home):
    told(home, GOOD)
    assert told(home, GOOD, "device=cpu", "threads=2", "cache=elsewhere")[2] == []


def test_runs_of_an_older_commit_are_refused(home, capsys):
    told(home, GOOD)
    home.commit()
    assert told(home, GOOD)[0] == 1
    assert "it was trained at commit" in capsys.readouterr().err


def test_a_tree_that_changes_while_runs_are_under_way_is_refused(home, capsys):
    def trained(configs, console):
        pretended(GOOD)(configs[:3], console)
        (home.folder / "edit.py").write_text("x = 1\n")
        pretended(GOOD)(configs[3:], console)

    home.monkeypatch.setattr(reproduce, "train_all", trained)
    assert home.reproduce("plain") == 1
    assert "the tree changed while it was trained" in capsys.readouterr().err
    assert not home.certificate("plain").exists()


# ---------------------------------------------------------------------------------------------------- what is refused


def test_a_rehearsal_with_a_dirty_tree_certifies_nothing(home):
    (home.folder / "edit.py").write_text("x = 1\n")
    code, certificate, _ = told(home, GOOD, "allow_dirty=true")
    assert code == 2
    assert certificate["verdict"] == "MET"
    assert certificate["certificate"] is False
    assert "**not a certificate: dirty tree**" in home.certificate("plain").with_suffix(".md").read_text()


def test_a_checkout_whose_commit_nobody_can_tell_is_refused(home, capsys):
    (home.folder / ".git").rename(home.folder / "away")
    code, certificate, asked = told(home, GOOD)
    assert (code, certificate, asked) == (1, {}, [])
    assert "has no commit that git can tell" in capsys.readouterr().err


def test_runs_whose_commit_git_could_not_tell_are_refused(home, capsys):
    whole = provenance.provenance
    home.monkeypatch.setattr(provenance, "provenance", lambda *a: {**whole(*a), "git": None})
    assert told(home, GOOD)[0] == 1
    assert "git could not tell the commit that it was trained at" in capsys.readouterr().err


def test_another_file_of_the_baselines_folder_is_held_to_the_same_rule(home, tmp_path, capsys):
    """A committed baseline whose experiment is edited: in a repository of its own, apart from the code's."""
    elsewhere = tmp_path / "elsewhere"
    home.conf.rename(elsewhere)
    home.commit()
    home.conf, checkout = elsewhere, home.folder
    home.folder = elsewhere
    home.git("init", "-q")
    home.commit()
    home.folder = checkout
    assert told(home, GOOD)[0] == 0
    (elsewhere / "experiment").mkdir()
    (elsewhere / "experiment" / "mine.yaml").write_text("images: 7\n")
    assert told(home, GOOD)[0] == 1
    assert "elsewhere differs from its commit" in capsys.readouterr().err.replace("\n", "")


def test_a_package_installed_in_somebodys_repository_is_not_held_to_that_repository():
    code = {"commit": None, "dirty": False, "version": "1"}
    baseline = load_baseline("ring_modes", "smoke")
    assert reproduce._remarks(code, GitStatus(UNCOMMITTED, "0" * 64), baseline, False) == []


def test_a_baseline_that_was_never_committed_is_refused_and_one_outside_any_repository_says_so(home, tmp_path, capsys):
    path = home.conf / "baseline" / "plain.yaml"
    path.rename(path.with_name("fresh.yaml"))
    assert home.reproduce("fresh") == 1
    assert "fresh.yaml is not committed" in capsys.readouterr().err
    outside = tmp_path / "outside"
    (home.conf).rename(outside)
    home.conf = outside
    (outside / "baseline" / "fresh.yaml").rename(outside / "baseline" / "plain.yaml")
    home.commit()
    code, certificate, _ = told(home, GOOD)
    assert code == 0
    assert certificate["remarks"] == ["not committed: the baseline lies in no repository"]


@pytest.mark.parametrize(
    "word",
    [
        "images=10",
        "objective=hinge",
        "data.labels=3",
        "batch=8",
        "trainer.precision=bf16-mixed",
        "evaluation.n=10",
        "name=x",
    ],
)
def test_words_that_change_the_game_or_the_measure_are_refused(home, capsys, word):
    assert home.reproduce("plain", word) == 1
    assert "a baseline says what is trained and how it is measured" in capsys.readouterr().err


def test_without_a_baseline_they_are_listed_and_a_mistyped_one_finds_the_closest(capsys):
    assert main(["reproduce"]) == 1
    assert "historical_averaging, ring_modes, salimans2016_mnist_100_labels" in capsys.readouterr().err
    assert main(["reproduce", "baseline=ring_mods"]) == 1
    assert "no such baseline: ring_mods. Did you mean ring_modes?" in capsys.readouterr().err
    assert main(["reproduce", "baseline=ring_modes", "tier=smke"]) == 1
    assert "no tier smke. Did you mean smoke?" in capsys.readouterr().err


@pytest.mark.parametrize("name", catalogue.option_names("baseline"))
def test_every_baseline_composes_in_every_tier(name, tmp_path):
    """And each run lies in a folder of its own."""
    tiers = yaml.safe_load((catalogue.conf_folder() / "baseline" / f"{name}.yaml").read_text())["tiers"]
    for baseline in [load_baseline(name, tier) for tier in tiers]:
        configs = reproduce.run_configs(baseline, ["logger=none"], tmp_path)
        folders = {f"{config.outputs}/{config.name}/seed{config.seed}" for config in configs.values()}
        assert len(folders) == len(baseline.arms) * len(baseline.seeds)


def test_each_mnist_run_has_labels_of_its_own(tmp_path):
    baseline = load_baseline("salimans2016_mnist_100_labels", "short")
    configs = reproduce.run_configs(baseline, [], tmp_path)
    assert {(arm, config.seed, config.data.label_seed) for (arm, _), config in configs.items()} == {
        (arm, seed, seed) for arm in baseline.arms for seed in (0, 1, 2)
    }
    assert {config.images for config in configs.values()} == {1_800_000}


def test_an_installed_package_is_known_by_its_version(home, capsys):
    (home.folder / "pyproject.toml").unlink()  # no checkout, so no commit
    home.commit()
    assert told(home, GOOD)[1]["code"]["commit"] is None
    code, _, asked = told(home, GOOD)
    assert (code, asked) == (0, [])
    home.monkeypatch.setattr(reproduce, "code_state", lambda: {"commit": None, "dirty": False, "version": "9.9"})
    assert told(home, GOOD)[0] == 1
    assert "it was trained by version" in capsys.readouterr().err
