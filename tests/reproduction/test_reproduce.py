"""Verdicts, certificates, and what `reproduce` refuses."""

import copy
import importlib.metadata
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import yaml
from baselines import GOOD, PLAIN, SCORE, Home, fake_training
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


def test_the_range_of_a_score_is_the_headline_s_or_that_of_a_proportion_or_a_count():
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


def test_equal_scores_are_undecided_unless_the_headline_is_deterministic(home):
    """Errors are proportions, and equal errors of some runs do not determine that of another."""
    same = {"a": [0.10] * 3, "b": [0.40] * 3}
    code, certificate, _ = reproduce_with(home, same)
    assert (code, certificate["verdict"]) == (2, "UNDECIDED")
    exact = copy.deepcopy(PLAIN)
    for one in exact["headline"].values():
        one["deterministic"] = True
    exact["headline"]["a less b"]["contrast"]["paired"] = True
    home.write("plain", exact)
    code, certificate, _ = reproduce_with(home, same, "retrain=true")
    assert (code, certificate["verdict"]) == (0, "MET")


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = Home(tmp_path, monkeypatch)
    home.monkeypatch = monkeypatch
    home.write("plain", PLAIN)
    return home


def reproduce_with(home, values, *overrides, **changes):
    """Return exit code, certificate and labels of the trained runs, if runs end with these values."""
    home.monkeypatch.setattr(reproduce, "train_all", runner := fake_training(values, **changes))
    code = home.reproduce("plain", *overrides)
    path = home.certificate("plain")
    return code, json.loads(path.read_text()) if path.exists() else {}, runner.labels


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
    exit_code, certificate, _ = reproduce_with(home, values)
    assert exit_code == code
    assert [headline["verdict"] for headline in certificate["headlines"]] == verdicts
    assert certificate["verdict"] == {0: "MET", 1: "NOT MET", 2: "UNDECIDED"}[code]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "a, seed 1: missing"),
        ("diverged", "a, seed 1: diverged (what happened)"),
        ("failed", "a, seed 1: failed (what happened)"),
        ("running", "a, seed 1: running"),
        (float("nan"), "1 of 3 scores: nan"),
    ],
)
def test_a_run_without_a_score_is_not_met_and_named(home, value, reason):
    code, certificate, _ = reproduce_with(home, {**GOOD, "a": [0.1, value, 0.1]})
    assert code == 1
    assert reason in certificate["headlines"][0]["why"]
    assert certificate["headlines"][0]["verdict"] == "NOT MET"
    assert (certificate["headlines"][0]["n"], certificate["headlines"][0]["values"]["a"]["1"]) == (2, None)
    assert len(certificate["environments"]) == 1


def test_without_a_started_run_nothing_is_certified(home, capsys):
    code, certificate, trained = reproduce_with(home, {arm: [None] * 3 for arm in GOOD})
    assert (code, certificate, len(trained)) == (1, {}, 6)
    assert "no run started" in capsys.readouterr().err


def test_a_score_under_another_contract_is_not_met_and_the_field_is_named(home):
    code, certificate, _ = reproduce_with(home, GOOD, split="validation")
    assert code == 1
    assert "no error_discriminator_450_test among its final scores" in certificate["headlines"][0]["why"]


def test_a_field_of_the_contract_that_differs_from_the_baseline_is_named(home):
    baseline = copy.deepcopy(PLAIN)
    baseline["headline"]["a"]["contract"] = {"weights": "raw"}
    home.write("plain", baseline)
    _, certificate, _ = reproduce_with(home, GOOD)
    assert "measured with weights=averaged, and the baseline requires weights=raw" in certificate["headlines"][0]["why"]


def test_stdout_has_the_verdict_or_with_json_only_the_certificate(home, capsys):
    assert reproduce_with(home, GOOD)[0] == 0
    out = capsys.readouterr().out
    assert "MET       a: " in out
    assert f"MET: {home.certificate('plain').with_suffix('.md')}" in out
    code, certificate, _ = reproduce_with(home, GOOD, "--json")
    assert code == 0
    printed = json.loads(capsys.readouterr().out)
    assert {key: printed[key] for key in ("verdict", "headlines", "runs")} == {
        key: certificate[key] for key in ("verdict", "headlines", "runs")
    }


def test_the_certificate_holds_what_is_needed_to_repeat_it(home):
    _, certificate, trained = reproduce_with(home, GOOD)
    assert trained == [f"{arm} seed={seed}" for seed in (0, 1, 2) for arm in ("a", "b")]
    first, second = certificate["headlines"]
    assert first["values"] == {"a": {"0": 0.10, "1": 0.11, "2": 0.12}}
    assert first["measured"] == pytest.approx(0.11)
    assert first["distance"] == pytest.approx(0.01)
    half = 2.91998558 * 0.01 / 3**0.5  # t with 2 degrees of freedom, 95%
    assert first["interval"] == pytest.approx([0.11 - half, 0.11 + half])
    assert second["measured"] == pytest.approx(-0.30)
    assert len(certificate["file"]["sha256"]) == 64
    assert certificate["file"]["commit"] == certificate["code"]["commit"]
    assert certificate["hours"]["spent"] == pytest.approx(6 * 36 / 3600)
    assert certificate["data"] == {"digits test": "0" * 64}
    assert len(certificate["environments"]) == 1
    page = home.certificate("plain").with_suffix(".md").read_text()
    for text in ("# plain, tier smoke: MET", "0000.00000", "0.1 ± 0.01 (standard deviation, n = 10)", "at most 0.2",
                 certificate["code"]["commit"], certificate["file"]["sha256"], "0: 0.1, 1: 0.11, 2: 0.12"):  # fmt: skip
        assert text in page
    assert str(home.outputs) not in json.dumps(certificate["runs"])


def test_a_paired_contrast_uses_the_differences_by_seed(home):
    """Seeds differ by 0.1 and the arms of a pair by 0.02: Welch's interval would be 0.3 wide."""
    baseline = copy.deepcopy(PLAIN)
    baseline["headline"] = {"a less b": baseline["headline"]["a less b"]}
    baseline["headline"]["a less b"] |= {
        "contrast": {"a": "a", "b": "b", "paired": True}, "tolerance": {"least": -0.03, "most": -0.01, "why": "x"},
    }  # fmt: skip
    home.write("plain", baseline)
    code, certificate, _ = reproduce_with(home, {"a": [0.1, 0.2, 0.3], "b": [0.12, 0.22, 0.32]})
    assert (code, certificate["headlines"][0]["measured"]) == (0, pytest.approx(-0.02))
    assert certificate["headlines"][0]["interval"] == pytest.approx([-0.02, -0.02])


def test_a_median_is_judged_by_its_own_interval(home):
    baseline = copy.deepcopy(PLAIN)
    baseline["headline"] = {"a": baseline["headline"]["a"] | {"statistic": "median"}}
    baseline["seeds"] = [0, 1, 2, 3, 4]
    home.write("plain", baseline)
    scores = {"a": [0.15, 0.11, 0.12, 0.10, 0.19], "b": [0.4] * 5}
    code, certificate, _ = reproduce_with(home, scores)
    headline = certificate["headlines"][0]
    assert (code, headline["statistic"], headline["measured"]) == (0, "median", pytest.approx(0.12))
    assert headline["interval"] == pytest.approx([0.10, 0.19])
    assert "| measured, median | 0.12, n = 5 |" in home.certificate("plain").with_suffix(".md").read_text()


def test_a_tier_has_its_own_overrides_and_seeds(home):
    values = {arm: [*scores, scores[-1]] for arm, scores in GOOD.items()}
    _, _, trained = reproduce_with(home, values, "tier=full")
    assert len(trained) == 8
    assert home.certificate("plain", "full").exists()
    assert load_baseline("plain", "full", home.conf).hours == 9


# ------------------------------------------------------------------------------------------------------ existing runs


def test_runs_that_match_are_not_trained_again(home):
    reproduce_with(home, GOOD)
    code, certificate, trained = reproduce_with(home, GOOD)
    assert (code, trained) == (0, [])
    assert all(run["reused"] for run in certificate["runs"])


@pytest.mark.parametrize("status", ["diverged", "stopped"])
def test_a_run_that_diverged_or_was_stopped_by_an_alarm_counts_and_is_not_tried_again(home, status):
    reproduce_with(home, {**GOOD, "a": [0.1, status, 0.1]})
    code, certificate, trained = reproduce_with(home, GOOD)
    assert (code, trained) == (1, [])
    assert f"a, seed 1: {status} (what happened)" in certificate["headlines"][0]["why"]


def find_run(home, arm="a", seed=1):
    (facts,) = [run for run in reproduce_with(home, GOOD)[1]["runs"] if (run["arm"], run["seed"]) == (arm, seed)]
    return Run(home.outputs / "reproduce" / "plain-smoke" / facts["folder"])


EDITS = {
    "another length": (lambda c, p: c.update(images=7), "images is 7, not 500000"),
    "another objective": (lambda c, p: c.objective.update(generator=None), "objective.generator"),
    "another measure": (lambda c, p: c.evaluation.update(n=10), "evaluation.n is 10, not None"),
    "another seed": (lambda c, p: c.update(seed=5), "seed is 5, not 1"),
    "another commit": (lambda c, p: p["git"].update(commit="f" * 40), "at commit ffffffffffff, not"),
    "a dirty tree": (lambda c, p: p["git"].update(dirty=True), "a git tree with uncommitted changes"),
    "trained before the claims": (
        lambda c, p: p.update(started="2001-01-01T00:00:00+00:00"),
        "it was trained before the baseline's last commit",
    ),
    "an earlier start": (lambda c, p: p.update(earlier=[{"git": {"commit": "e" * 40, "dirty": False}}]), "eeeeeeee"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_run_that_does_not_match_is_refused_with_the_reason_or_moved_aside(home, capsys, edit):
    run = find_run(home)
    change, message = EDITS[edit]
    config, record = OmegaConf.load(run.config), json.loads((run.folder / "provenance.json").read_text())
    change(config, record)
    OmegaConf.save(config, run.config)
    (run.folder / "provenance.json").write_text(json.dumps(record))
    code, _, trained = reproduce_with(home, GOOD)
    assert (code, trained) == (1, [])
    error = capsys.readouterr().err
    assert "cannot count as a seed=1" in error
    assert message in error
    code, _, trained = reproduce_with(home, GOOD, "retrain=true")
    assert (code, trained) == (0, ["a seed=1"])
    assert run.folder.with_name("seed1-old1").exists()


def test_locations_and_devices_do_not_matter(home):
    reproduce_with(home, GOOD)
    assert reproduce_with(home, GOOD, "device=cpu", "threads=2", "cache=elsewhere")[2] == []


def test_runs_of_an_older_commit_are_refused(home, capsys):
    reproduce_with(home, GOOD)
    home.commit()
    assert reproduce_with(home, GOOD)[0] == 1
    assert "it was trained at commit" in capsys.readouterr().err


def test_a_tree_that_changes_while_runs_are_under_way_is_refused(home, capsys):
    def train_all(configs, console):
        fake_training(GOOD)(configs[:3], console)
        (home.folder / "edit.py").write_text("x = 1\n")
        fake_training(GOOD)(configs[3:], console)

    home.monkeypatch.setattr(reproduce, "train_all", train_all)
    assert home.reproduce("plain") == 1
    assert "the tree changed while it was trained" in capsys.readouterr().err
    assert not home.certificate("plain").exists()


# ----------------------------------------------------------------------------------------------------------- refusals


def test_a_rehearsal_with_a_dirty_tree_certifies_nothing_and_replaces_no_certificate(home):
    reproduce_with(home, GOOD)
    before = home.certificate("plain").read_text()
    (home.folder / "edit.py").write_text("x = 1\n")
    code, _, _ = reproduce_with(home, GOOD, "allow_dirty=true")
    assert code == 2
    assert home.certificate("plain").read_text() == before
    rehearsal = home.certificate("plain").with_name("rehearsal.json")
    facts = json.loads(rehearsal.read_text())
    assert facts["verdict"] == "MET"
    assert facts["certificate"] is False
    assert "**not a certificate: dirty tree**" in rehearsal.with_suffix(".md").read_text()


def test_an_edited_claim_does_not_count_the_runs_that_were_there_before(home, capsys):
    """In a repository of one's own the commit of the code does not change with that of the baseline."""
    code = {"commit": None, "dirty": False, "version": importlib.metadata.version("saddlepoint")}
    home.monkeypatch.setattr(reproduce, "code_state", lambda: code)
    home.monkeypatch.setattr(provenance, "commit_state", lambda folder: None)
    strict, wide = copy.deepcopy(PLAIN), copy.deepcopy(PLAIN)
    strict["headline"]["a"]["tolerance"]["most"] = 0.105
    home.write("plain", strict)
    assert reproduce_with(home, GOOD)[0] in (1, 2)
    home.write("plain", wide)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    home.monkeypatch.setenv("GIT_COMMITTER_DATE", later)
    home.git("commit", "-q", "--amend", "--no-edit")
    assert reproduce_with(home, GOOD)[0] == 1
    assert "its scores could be behind the claims" in capsys.readouterr().err


def test_a_checkout_without_a_commit_is_refused(home, capsys):
    (home.folder / ".git").rename(home.folder / "away")
    code, certificate, trained = reproduce_with(home, GOOD)
    assert (code, certificate, trained) == (1, {}, [])
    assert "has no commit that git can read" in capsys.readouterr().err


def test_runs_without_a_recorded_commit_are_refused(home, capsys):
    original = provenance.provenance
    home.monkeypatch.setattr(provenance, "provenance", lambda *a: {**original(*a), "git": None})
    assert reproduce_with(home, GOOD)[0] == 1
    assert "git could not read the commit that it was trained at" in capsys.readouterr().err


def test_other_files_of_the_baseline_s_folder_must_be_committed_too(home, tmp_path, capsys):
    """A committed baseline whose experiment is edited, in a repository separate from that of the code."""
    elsewhere = tmp_path / "elsewhere"
    home.conf.rename(elsewhere)
    home.commit()
    home.conf, checkout = elsewhere, home.folder
    home.folder = elsewhere
    home.git("init", "-q")
    home.commit()
    home.folder = checkout
    assert reproduce_with(home, GOOD)[0] == 0
    (elsewhere / "experiment").mkdir()
    (elsewhere / "experiment" / "mine.yaml").write_text("images: 7\n")
    assert reproduce_with(home, GOOD)[0] == 1
    assert "elsewhere differs from its commit" in capsys.readouterr().err.replace("\n", "")


def test_a_package_installed_inside_another_repository_ignores_it():
    code = {"commit": None, "dirty": False, "version": "1"}
    baseline = load_baseline("ring_modes", "smoke")
    assert reproduce._certificate_remarks(code, GitStatus(UNCOMMITTED, "0" * 64), baseline, False) == []


def test_an_uncommitted_baseline_is_refused_and_one_outside_any_repository_has_a_remark(home, tmp_path, capsys):
    path = home.conf / "baseline" / "plain.yaml"
    path.rename(path.with_name("fresh.yaml"))
    assert home.reproduce("fresh") == 1
    assert "fresh.yaml is not committed" in capsys.readouterr().err
    outside = tmp_path / "outside"
    (home.conf).rename(outside)
    home.conf = outside
    (outside / "baseline" / "fresh.yaml").rename(outside / "baseline" / "plain.yaml")
    home.commit()
    code, certificate, _ = reproduce_with(home, GOOD)
    assert code == 0
    assert certificate["remarks"] == ["not committed: the baseline lies in no repository"]


@pytest.mark.parametrize(
    "override",
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
def test_overrides_that_change_the_training_or_the_measurement_are_refused(home, capsys, override):
    assert home.reproduce("plain", override) == 1
    assert "a baseline fixes what is trained and how it is measured" in capsys.readouterr().err


def test_baselines_are_listed_and_a_mistyped_one_is_refused_with_the_closest(capsys):
    assert main(["reproduce"]) == 1
    assert "radford2016_mnist, ring_modes, salimans2016_mnist_100_labels" in capsys.readouterr().err
    assert main(["reproduce", "baseline=ring_mods"]) == 1
    assert "no such baseline: ring_mods. Did you mean ring_modes?" in capsys.readouterr().err
    assert main(["reproduce", "baseline=ring_modes", "tier=smke"]) == 1
    assert "no tier smke. Did you mean smoke?" in capsys.readouterr().err


@pytest.mark.parametrize("name", catalogue.option_names("baseline"))
def test_every_baseline_composes_in_every_tier(name, tmp_path):
    """And each run has its own folder."""
    tiers = yaml.safe_load((catalogue.conf_folder() / "baseline" / f"{name}.yaml").read_text())["tiers"]
    for baseline in [load_baseline(name, tier) for tier in tiers]:
        configs = reproduce.compose_run_configs(baseline, ["logger=none"], tmp_path)
        folders = {f"{config.outputs}/{config.name}/seed{config.seed}" for config in configs.values()}
        assert len(folders) == len(baseline.arms) * len(baseline.seeds)


def test_each_mnist_run_has_its_own_labels(tmp_path):
    baseline = load_baseline("salimans2016_mnist_100_labels", "short")
    configs = reproduce.compose_run_configs(baseline, [], tmp_path)
    assert {(arm, config.seed, config.data.label_seed) for (arm, _), config in configs.items()} == {
        (arm, seed, seed) for arm in baseline.arms for seed in (0, 1, 2)
    }
    assert {config.images for config in configs.values()} == {1_800_000}


def test_an_installed_package_is_identified_by_its_version(home, capsys):
    (home.folder / "pyproject.toml").unlink()  # no checkout, so no commit
    home.commit()
    assert reproduce_with(home, GOOD)[1]["code"]["commit"] is None
    code, _, trained = reproduce_with(home, GOOD)
    assert (code, trained) == (0, [])
    home.monkeypatch.setattr(reproduce, "code_state", lambda: {"commit": None, "dirty": False, "version": "9.9"})
    assert reproduce_with(home, GOOD)[0] == 1
    assert "it was trained by version" in capsys.readouterr().err


def test_a_spread_that_overflows_is_null_in_the_certificate(home):
    baseline = copy.deepcopy(PLAIN)
    baseline["headline"]["a"]["range"] = [-1e301, 1e301]
    home.write("plain", baseline)
    with np.errstate(over="ignore"):
        reproduce_with(home, {**GOOD, "a": [1e300, -1e300, 0.1]})
    text = home.certificate("plain").read_text()
    (headline, _) = json.loads(text, parse_constant=pytest.fail)["headlines"]  # fails at Infinity and NaN
    assert headline["std"] is None
