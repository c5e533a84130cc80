"""saddlepoint sweep: sweep files, what is refused before any trial, how a trial is trained, and the winner."""

import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from runs import SMALL
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from saddlepoint.cli import main
from saddlepoint.config import catalogue
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import describe_identity_differences
from saddlepoint.error import Mistake
from saddlepoint.experiment.train import train
from saddlepoint.launcher.local import Local
from saddlepoint.run.folder import Run
from saddlepoint.sweep import to_experiment
from saddlepoint.sweep import trial as module
from saddlepoint.sweep.plan import parse_metric
from saddlepoint.sweep.space import Choice, Range
from saddlepoint.sweep.study import FINISHED, TrialRecord
from saddlepoint.sweep.sweep import _write_winner, check_space
from saddlepoint.sweep.sweep_file import load_plan, parse_space
from saddlepoint.sweep.trial import TrialProcess, build_starter, trial_config
from saddlepoint.sweep.trial_table import TrialTable
from saddlepoint.sweep.worker import AttemptResult

TINY = {
    "space": {"optimizer.generator.lr": {"low": 1e-4, "high": 1e-2, "log": True}},
    "words": [
        *(override for override in SMALL if override != "batch=64"),
        "metric=[frechet_distance]",
        "evaluation.second_extractor=null",
    ],
    "metric": "fid",
    "sampler": "random",
    "trials": 3,
}


@pytest.fixture
def conf(tmp_path: Path):
    """Return a function that writes the sweep file `tiny`, with changes, and returns its config folder."""

    def write(**changes) -> Path:
        (tmp_path / "conf" / "sweep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / "sweep" / "tiny.yaml").write_text(yaml.safe_dump({**TINY, **changes}))
        return tmp_path / "conf"

    return write


def planned(folder: Path, *overrides: str):
    keys = catalogue.command_keys("sweep")
    arguments = [text for text in overrides if text.partition("=")[0] in keys]  # of the command itself
    remaining = [text for text in overrides if text not in arguments]
    return load_plan(compose(["sweep=tiny", *arguments], None, "sweep"), remaining, folder)


# ------------------------------------------------------------------------------------------------------- sweep files


def test_a_space_has_ranges_choices_and_named_bundles_of_overrides() -> None:
    lr, batch, penalty, smoothing = parse_space(
        {
            "optimizer.generator.lr": {"low": 1e-4, "high": 1e-2, "log": True},
            "batch": {"choices": [32, 64]},
            "+regularizer": {"choices": [[], ["r1", "r2"]]},
            "smoothing": {False: [], True: ["objective.discriminator.real_label=0.9"]},
        }
    )
    assert lr == Range("optimizer.generator.lr", 1e-4, 1e-2, log=True)
    assert isinstance(batch, Choice)
    assert batch.overrides("64") == ("batch=64",)
    assert isinstance(penalty, Choice)
    assert penalty.overrides("[r1,r2]") == ("+regularizer=[r1,r2]",)
    assert isinstance(smoothing, Choice)
    assert (list(smoothing.levels), smoothing.has_bundles) == (["off", "on"], True)


@pytest.mark.slow  # every test value of each dimension is built
def test_our_sweeps_compose_and_build(checkout: Path) -> None:
    for name in catalogue.option_names("sweep"):
        search_plan = load_plan(compose([f"sweep={name}"], None, "sweep"))
        base = check_space(search_plan)
        assert base.evaluation.selection.split == "validation"
        assert (checkout / "conf" / "sweep" / f"{name}.yaml").read_text().count(f"saddlepoint sweep sweep={name}")


def test_the_command_line_takes_precedence_and_machine_overrides_do_not_change_the_search(conf) -> None:
    folder = conf(sampler={"name": "tpe", "seed": 3}, pruner="median")
    search_plan = planned(
        folder, "trials=9", "seeds=[4,5]", "pruner=none", "name=mine", "images=640", "cache=/elsewhere"
    )
    assert (search_plan.name, search_plan.n_trials, search_plan.seeds, search_plan.pruner) == ("mine", 9, (4, 5), None)
    assert (search_plan.sampler.name, search_plan.sampler.seed) == ("tpe", 3)
    assert search_plan.overrides[-1] == "images=640"
    assert set(search_plan.machine_overrides) == {"cache=/elsewhere", "logger=none"}
    assert (
        search_plan.defining_settings
        == planned(folder, "trials=2", "seeds=[4,5]", "name=mine", "images=640").defining_settings
    )


def test_a_trial_is_scored_on_validation_for_any_reported_split(conf) -> None:
    folder = conf()
    config = trial_config(planned(folder, "evaluation.selection.split=null"), {})
    assert (config.evaluation.split, config.evaluation.selection.split) == ("train", "validation")
    validation = trial_config(planned(folder, "evaluation.split=validation"), {})
    assert validation.evaluation.split == "validation"


def test_the_config_of_a_trial_has_its_values_bundle_and_tags(conf, tmp_path: Path) -> None:
    folder = conf(space={**TINY["space"], "smoothing": {"off": [], "on": ["objective.discriminator.real_label=0.9"]}})
    search_plan = planned(folder, "logger=wandb")
    config = trial_config(search_plan, {"optimizer.generator.lr": 0.003, "smoothing": "on"})
    assert (config.optimizer.generator.lr, config.objective.discriminator.real_label) == (0.003, 0.9)
    assert config.choice.smoothing == "on"
    assert config.logger.group == "tiny"
    assert "smoothing=on" in config.logger.tags


# ---------------------------------------------------------------------------------------------------- invalid sweeps

KEY = "fid_digits_450_validation"
LR, EVERY = "optimizer.generator.lr", "game.players.generator.every"


def over(key: str, **node) -> dict:
    """Return the space of a sweep over one key."""
    return {"space": {key: node}}


BAD = {
    "an unknown key": (over(LR + "r", low=1, high=2), [], "lrr. Did you mean optimizer.generator.lr"),
    "an unknown choice": (over("objective", choices=["hinge", "hing"]), [], "hing. Did you mean hinge"),
    "a value out of range": (over("batch", low=0, high=64), [], "space.batch, 0: batch=0: batch is an integer"),
    "a value that a player refuses": (over(EVERY, low=0, high=5), [], "generator.every, 0: "),
    "a value that torch refuses": (over(LR, low=-1.0, high=1.0), [], "Invalid learning rate: -1.0"),
    "a fraction of an integer": (over("batch", low=1.5, high=64.0), [], "batch=1.5"),
    "low above high": (over("batch", low=9, high=3), [], "space.batch: low 9 is above high 3"),
    "log from zero": (over(LR, low=0, high=1, log=True), [], "log needs low above 0"),
    "log in steps": (over("batch", low=1, high=9, log=True, step=2), [], "log and step exclude each other"),
    "text instead of a number": (over("batch", low="a", high=9), [], "space.batch.low=a: space.batch.low is a number"),
    "half a range": (over("batch", low=1), [], "space.batch: no high: a range is"),
    "a mistyped bound": (over("batch", low=1, hihg=9), [], "no such key: hihg. Did you mean high?"),
    "a choice twice": (over("batch", choices=[8, 8]), [], "8 is twice among"),
    "a list instead of a range": ({"space": {"batch": [8, 16]}}, [], "space.batch: {low, high, log, step}"),
    "no space": ({"space": {}}, [], "space: {key:"),
    "a lucky seed": (over("seed", low=0, high=99), [], "a lucky seed is not a setting"),
    "another number of samples": (over("evaluation.n", low=100, high=450), [], "a score must be measured in"),
    "another extractor in a bundle": (
        {"space": {"how": {"few": ["evaluation.n=100"], "many": ["batch=8"]}}}, [], "evaluation.n=100: a score must"
    ),
    "other data": (over("data", choices=["digits", "gaussians"]), [], "space.data, gaussians: "),
    "no metric": ({"metric": None}, [], "by which score?"),
    "a reported metric": ({"metric": "fid_digits_900_train"}, [], "uses a split that final scores are reported on"),
    "an unmeasured metric": ({"metric": "coverage"}, [], "no trial measures it on the validation split"),
    "the test split": ({}, ["evaluation.split=test"], "a search measures nothing on test"),
    "all splits": ({}, ["evaluation.split=all"], "a search measures nothing on test"),
    "selection on test": ({}, ["evaluation.selection.split=test"], "a search selects on validation"),
    "no evaluation callback": ({}, ["callback=[journal]"], "+callback=evaluation"),
    "an unknown file key": ({"trails": 3}, [], "no such key: trails. Did you mean trials?"),
    "a seed in the overrides of a file": ({"words": ["seed=3"]}, [], "sweep tiny: words: seed=3: use seeds=[0, 1]"),
    "a seed on the command line": ({}, ["seed=3"], "saddlepoint: seed=3: use seeds=[0, 1]"),
    "an override of a searched key": ({}, [f"{LR}=1e-3"], f"saddlepoint: {LR}=1e-3: {LR} is searched"),
    "the same in a file": ({"words": [f"++{LR}=1"]}, [], f"sweep tiny: words: ++{LR}=1: {LR} is searched"),
    "permission from a file": ({"words": ["allow_target=[os]"]}, [], "which a file cannot set"),
    "a setting of the wrong kind": ({"sampler": {"name": "tpe", "n_ei_candidates": 0}}, [], "sampler tpe fails with"),
    "a list of samplers": ({}, ["sampler=[tpe]"], "sampler=[tpe]: sampler is a mapping of names, text or null"),
    "an unknown sampler": ({}, ["sampler=tpee"], "no such sampler: tpee. Did you mean tpe?"),
    "an unknown pruner": ({}, ["pruner=medain"], "no such pruner: medain. Did you mean median?"),
    "a grid without steps": ({}, ["sampler=grid"], "a grid needs a step, or choices, for optimizer.generator.lr"),
    "no trials": ({}, ["trials=0"], "trials=0: trials is an integer from 1 on or null"),
    "no workers": ({}, ["workers=0"], "workers is an integer from 1 on"),
    "a seed twice": ({}, ["seeds=[1,1]"], "seeds=[1, 1] has a duplicate"),
    "no name": ({}, ["name=a/b"], "must have only letters"),
    "an unknown storage": ({}, ["storage=mysql"], "storage=mysql: storage is one of sqlite, journal"),
    "a cluster": ({}, ["launcher=submitit"], "launcher=local"),
    "several values": ({}, ["batch=8,16"], "batch=8,16"),
}  # fmt: skip


OFTEN = {  # one of each kind of refusal; all of them when slow tests run
    "an unknown key", "a value that torch refuses", "half a range", "a mistyped bound", "another number of samples",
    "a reported metric", "a seed on the command line", "an override of a searched key", "an unmeasured metric",
    "the test split", "permission from a file",
    "an unknown sampler", "a grid without steps",
    "no workers",
}  # fmt: skip


@pytest.mark.parametrize("case", [c if c in OFTEN else pytest.param(c, marks=pytest.mark.slow) for c in BAD])
def test_an_invalid_sweep_is_refused_before_any_trial(case: str, conf, tmp_path: Path, capsys) -> None:
    changes, overrides, message = BAD[case]
    line = ["sweep", "sweep=tiny", "--config-dir", str(conf(**changes)), f"outputs={tmp_path / 'out'}", *overrides]
    assert main(line) == 1
    output = capsys.readouterr().err
    assert message in output
    assert len(output.splitlines()) <= 2
    assert not list((tmp_path / "out").glob("*/*")) if (tmp_path / "out").exists() else True


def test_a_dimension_that_changes_the_reals_is_refused(conf) -> None:
    """Its trials could not be compared. The number of training reals and the batch size can be searched."""
    overrides = [*TINY["words"], "data=gaussians"]
    for key, value in {"kind": "grid-P", "draw": 1}.items():
        folder = conf(words=overrides, space={f"data.{key}": {"choices": [value]}})
        with pytest.raises(Mistake, match=rf"space\.data\.{key}, {value}: this changes how trials are scored"):
            check_space(planned(folder))
    check_space(
        planned(conf(words=overrides, space={"data.number": {"choices": [600]}, "data.batch": {"choices": [8]}}))
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "which sweep? sweep=<name>; there are: digits"),
        (["sweep=digit"], "no such sweep: digit. Did you mean digits?"),
    ],
)
def test_an_unknown_sweep_is_reported_with_the_known_ones(overrides: list[str], message: str, capsys) -> None:
    assert main(["sweep", *overrides]) == 1
    assert message in capsys.readouterr().err


def test_a_sweep_file_that_is_not_yaml_is_reported_with_the_line(conf, tmp_path: Path, capsys) -> None:
    folder = conf()
    (folder / "sweep" / "tiny.yaml").write_text("space: {a: [}\n")
    assert main(["sweep", "sweep=tiny", "--config-dir", str(folder)]) == 1
    assert "tiny.yaml, line 1 cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["sweep", "--help"], ["sweep", "--cfg", "job"]], ids=" ".join)
def test_help_and_cfg_import_neither_torch_nor_optuna(arguments: list[str]) -> None:
    print_modules = "print(*sys.modules, sep='\\n', file=sys.stderr)"
    script = f"import sys; from saddlepoint.cli import main; main({arguments!r}); {print_modules}"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "optuna", "sqlalchemy", "matplotlib"} & set(result.stderr.split())
    assert "trials" in result.stdout


# ----------------------------------------------------------------------------------------------- how a trial is trained


class ShellLauncher(Local):
    """Start a line of shell instead of a training."""

    def __init__(self, line: str) -> None:
        super().__init__(processes=1, gpus=0)
        self.line, self.n_started = line, 0

    def start_job(self, job, slot):
        job.command, self.n_started = ["sh", "-c", self.line], self.n_started + 1
        return super().start_job(job, slot)


def start_training(conf, tmp_path: Path, line: str, *overrides: str) -> TrialProcess:
    search_plan = planned(conf(), "images=1280", *overrides)
    return build_starter(search_plan, tmp_path / "out", ShellLauncher(line))(0, {"optimizer.generator.lr": 0.001}, 0, 0)


def write_journal(attempt: TrialProcess, *rows: dict) -> None:
    attempt.run.folder.mkdir(parents=True, exist_ok=True)
    attempt.run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def wait_for(attempt: TrialProcess, seconds: float = 20.0) -> AttemptResult:
    until = time.monotonic() + seconds
    while (result := attempt.poll()) is None and time.monotonic() < until:
        time.sleep(0.01)
    assert result is not None
    return result


def score(images: int, value: float, **more) -> dict:
    return {"images": images, "fid_digits_900_train": 1.0, "fid_digits_450_validation": value, **more}


def test_scores_are_assigned_to_the_images_at_which_they_were_due(conf, tmp_path: Path) -> None:
    """Even if batches of other sizes reach them later. The first and the last score are not used for pruning."""
    attempt = start_training(conf, tmp_path, "exit 0")
    write_journal(
        attempt, score(0, 90.0), {"images": 128}, score(672, 50.0), score(1312, 40.0), score(1312, 40.0, final=True)
    )
    assert attempt.curve() == {640: 50.0}
    assert wait_for(attempt) == AttemptResult(40.0)
    assert attempt.job.folder == tmp_path / "out" / "trial0" / "seed0"


def test_a_failed_training_reports_its_last_message(conf, tmp_path: Path) -> None:
    assert wait_for(start_training(conf, tmp_path, "echo saddlepoint: it diverged; exit 1")) == AttemptResult(
        reason="saddlepoint: it diverged"
    )


def test_a_killed_training_reports_the_signal_and_its_last_message(conf, tmp_path: Path) -> None:
    killed = start_training(conf, tmp_path / "a", "kill -9 $$")
    assert wait_for(killed) == AttemptResult(reason="killed by SIGKILL (out of memory?)")
    with_output = start_training(conf, tmp_path / "b", "echo half an epoch; kill -SEGV $$")
    assert wait_for(with_output) == AttemptResult(reason="killed by SIGSEGV: half an epoch")


def test_a_training_without_the_score_reports_the_scores_that_it_has(conf, tmp_path: Path) -> None:
    attempt = start_training(conf, tmp_path, "exit 0", "evaluation.split=validation")
    write_journal(attempt, {"images": 1280, "coverage_digits_450_validation": 0.1, "rounds": 20})
    assert wait_for(attempt) == AttemptResult(other_scores=["coverage_digits_450_validation"])


def test_a_pruned_training_is_terminated_and_killed_if_it_does_not_end(
    conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminated = start_training(conf, tmp_path, "exec sleep 60")
    terminated.request_stop()
    assert "15" in wait_for(terminated).reason or terminated.job.exit_code == -signal.SIGTERM
    monkeypatch.setattr(module, "PRUNE_TIMEOUT", 0.2)
    unresponsive = start_training(conf, tmp_path / "unresponsive", "trap '' TERM; while :; do sleep 0.05; done")
    time.sleep(0.3)  # the shell has to have set its trap
    unresponsive.request_stop()
    wait_for(unresponsive)
    assert unresponsive.job.exit_code == -signal.SIGKILL


def test_a_run_that_another_process_trains_is_waited_for_and_not_started_twice(conf, tmp_path: Path) -> None:
    """The process of a killed command still trains; when it has ended, its run is resumed."""
    folder = tmp_path / "out" / "trial0" / "seed0"
    with Run(folder).lock():
        attempt = start_training(conf, tmp_path, "exit 0")
        assert [attempt.poll() for _ in range(3)] == [None] * 3
        assert attempt.local.n_started == 0  # pyright: ignore[reportAttributeAccessIssue]
    write_journal(attempt, score(1280, 7.0))
    assert wait_for(attempt) == AttemptResult(7.0)
    assert attempt.local.n_started == 1  # pyright: ignore[reportAttributeAccessIssue]


def test_a_finished_run_is_not_trained_again(conf, tmp_path: Path) -> None:
    attempt = start_training(conf, tmp_path, "exit 0")
    write_journal(attempt, score(1280, 7.0))
    OmegaConf.save(attempt.config, attempt.run.config)
    attempt.run.update_summary(status="finished")
    wait_for(attempt)
    again = start_training(conf, tmp_path, "exit 1")
    assert wait_for(again) == AttemptResult(7.0)
    assert again.local.n_started == 0  # pyright: ignore[reportAttributeAccessIssue]


def test_a_run_that_an_alarm_stopped_has_failed_and_is_not_started_again(conf, tmp_path: Path) -> None:
    line = "exit 1", "callback.health.stop=[collapse]"
    attempt = start_training(conf, tmp_path, *line)
    wait_for(attempt)
    write_journal(attempt, score(640, 7.0))
    OmegaConf.save(attempt.config, attempt.run.config)
    attempt.run.update_summary(status="stopped", error="the run was stopped by collapse")
    again = start_training(conf, tmp_path, *line)
    assert wait_for(again) == AttemptResult(reason="the run was stopped by collapse")
    assert again.local.n_started == 0  # pyright: ignore[reportAttributeAccessIssue]


# ---------------------------------------------------------------------------------------------------- the whole command


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace trainings: the score of a trial is the distance of its learning rate from 0.001."""

    def start(number, params, seed, slot):
        if number == 1:
            raise Mistake("this one crashed")
        value = AttemptResult(abs(params["optimizer.generator.lr"] - 1e-3) + seed)
        return SimpleNamespace(curve=dict, poll=lambda: value, stop=lambda: None)

    monkeypatch.setattr("saddlepoint.sweep.sweep.build_starter", lambda *arguments: start)


@pytest.mark.slow  # other tests cover the report and the winner
def test_a_sweep_writes_tables_plots_and_the_best_trial_as_an_experiment(
    conf, tmp_path: Path, formula: None, capsys
) -> None:
    space = {**TINY["space"], "objective": {"choices": ["hinge", "nonsaturating"]}, "smoothing": {
        "off": [], "on": ["+regularizer=r1", "regularizer.discriminator.r1.weight=0.1"]}}  # fmt: skip
    source, out = conf(space=space), tmp_path / "out"
    line = ["sweep", "sweep=tiny", "--config-dir", str(source), f"outputs={out}", "trials=6", "seeds=[0,2]",
            "storage=journal"]  # fmt: skip
    assert main(line) == 0
    output = " ".join(capsys.readouterr())
    assert "6 trials: 1 failed, 5 finished" in output or "6 trials: 5 finished, 1 failed" in output
    assert "failed    trial 1" in output
    assert "this one crashed" in output
    assert "optimistic" in output
    folder = out / "tiny" / "report"
    for name in ("history", "parallel", "importance"):
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 500
    report = json.loads((folder / "trials.json").read_text())
    assert Counter(trial["state"] for trial in report["trials"]) == {"finished": 5, "failed": 1}
    assert report["trials"][0]["values"][1] == pytest.approx(report["trials"][0]["values"][0] + 2)
    best = min((trial for trial in report["trials"] if trial["value"]), key=lambda trial: trial["value"])
    assert f"trial {best['number']}" in (out / "tiny" / "winner" / "experiment" / "tiny_winner.yaml").read_text()
    assert (folder / "trials.csv").read_text().count("\n") == 7
    config = compose(["experiment=tiny_winner"], out / "tiny" / "winner")
    assert describe_identity_differences(trial_config(planned(source, "seeds=[0,2]"), best["params"]), config) == []
    assert [config.images, list(config.choice.metric)] == [1280, ["frechet_distance"]]


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["experiment=salimans2016_mnist_semisupervised"], marks=pytest.mark.slow),
        pytest.param(
            ["+layer@architecture.generator.norm=virtual_batch_norm", "+regularizer=feature_matching"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["+schedule@optimizer.generator.lr=linear", f"{LR}.start=2e-4", f"{LR}.end=0"], marks=pytest.mark.slow
        ),
        ["objective=wasserstein", "+regularizer=gradient_penalty", "evaluation.n=100", "objective.generator=null",
         "+regularizer=feature_matching"],
    ],
)  # fmt: skip
def test_any_command_line_can_be_written_as_an_experiment(overrides: list[str], tmp_path: Path) -> None:
    config = compose(overrides)
    to_experiment.write_experiment(config, tmp_path, "w", ["a comment"], None)
    again = compose(["experiment=w"], tmp_path)
    assert describe_identity_differences(config, again) == []
    for key in ("images", "evaluation", "metric", "callback"):
        assert again[key] == config[key]


@pytest.mark.parametrize(("metric", "best"), [("fid", 1), ("coverage", 2)])
def test_the_winner_is_the_best_trial_for_both_directions(metric: str, best: int, conf, tmp_path: Path) -> None:
    """The printed command that copies it into the user's config folder works."""
    folder, lines = conf(metric=metric), []
    search_plan, scores = planned(folder), (0.5, 0.1, 0.9, 0.3)
    table = TrialTable(SimpleNamespace(plan=search_plan), Console(quiet=True), 1)  # pyright: ignore[reportArgumentType]
    table.trials = [TrialRecord(i, FINISHED, {LR: (i + 1) / 1000}, score, {}) for i, score in enumerate(scores)]
    assert _write_winner(search_plan, table, tmp_path / "out", str(folder), lines.append)
    (path,) = (tmp_path / "out").glob("winner/experiment/*.yaml")
    assert f"trial {best}," in path.read_text()
    assert OmegaConf.load(path).optimizer.generator.lr == (best + 1) / 1000
    (copy,) = (line for line in lines if "cp " in line)
    subprocess.run(copy, shell=True, check=True)
    assert (folder / "experiment" / path.name).read_text() == path.read_text()


def test_a_winner_that_yaml_cannot_express_is_reported(tmp_path: Path) -> None:
    config = compose(["~architecture.discriminator.widths"])
    with pytest.raises(Mistake, match=r"cannot be written as an experiment: architecture\.discriminator\.widths"):
        to_experiment.write_experiment(config, tmp_path, "w", [], None)
    assert not list((tmp_path / "experiment").iterdir())


def test_without_a_finished_trial_there_is_no_winner(
    conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    lost_attempt = SimpleNamespace(curve=dict, poll=lambda: AttemptResult(reason="lost"), stop=lambda: None)
    monkeypatch.setattr("saddlepoint.sweep.sweep.build_starter", lambda *arguments: lambda *seed: lost_attempt)
    line = ["sweep", "sweep=tiny", "--config-dir", str(conf()), f"outputs={tmp_path / 'out'}", "storage=journal"]
    assert main(line) == 1
    assert "no trial finished" in capsys.readouterr().err


def test_a_sweep_prints_the_best_trial_on_stdout(conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    finished_attempt = SimpleNamespace(curve=dict, poll=lambda: AttemptResult(0.5), stop=lambda: None)
    monkeypatch.setattr("saddlepoint.sweep.sweep.build_starter", lambda *arguments: lambda *seed: finished_attempt)
    line = ["sweep", "sweep=tiny", "--config-dir", str(conf()), f"outputs={tmp_path / 'out'}", "storage=journal"]
    assert main([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["best"]["value"] == 0.5
    assert document["trials"]
    assert main(line) == 0
    assert "best of" in capsys.readouterr().out


def test_the_wandb_sweep_runs_as_an_agent_would_run_it(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command, completed by W&B's own code, trains 256 images, and logs the score that it names."""
    wandb_sweep = yaml.safe_load((checkout / "scripts" / "wandb_sweep.yaml").read_text())
    ours = load_plan(compose(["sweep=digits"], None, "sweep"))
    assert set(wandb_sweep["parameters"]) == {dimension.key for dimension in ours.space}
    for dimension in ours.space:
        assert isinstance(dimension, Range)
        assert [wandb_sweep["parameters"][dimension.key][end] for end in ("min", "max")] == [
            dimension.low,
            dimension.high,
        ]
    assert set(ours.overrides) < set(wandb_sweep["command"])
    args = {key: {"value": parameter["min"]} for key, parameter in wandb_sweep["parameters"].items()}
    filled = create_sweep_command_args({"args": args})
    line: list[str] = []
    for chunk in create_sweep_command(wandb_sweep["command"]):
        line += filled[name] if (name := chunk.strip("${}")) in filled else [chunk]
    known = {"${env}": "/usr/bin/env", "${interpreter}": "python", "${program}": str(checkout / wandb_sweep["program"])}
    line = [known.get(chunk, chunk) for chunk in line]
    assert shlex.join(line).startswith("/usr/bin/env python ")
    short = ["images=256", "callback.evaluation.images_between=128", f"outputs={tmp_path}", "logger.mode=offline"]
    monkeypatch.setattr(sys, "argv", [*line[2:], *short])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(line[2], run_name="__main__")
    assert end.value.code == 0
    (summary,) = tmp_path.glob("*/seed0/summary.json")
    rows = list(Run(summary.parent).rows())
    assert parse_metric(wandb_sweep["metric"]["name"]).find_score_key(rows[-1]) == wandb_sweep["metric"]["name"]
    assert wandb_sweep["metric"]["goal"] == ours.metric.direction
    assert Run(summary.parent).summary["images"] == 256


# ------------------------------------------------------------------------------------------------------ real processes


@pytest.mark.slow
def test_a_real_sweep_that_was_killed_ends_with_exactly_its_trials(conf, tmp_path: Path) -> None:
    """The first command is killed during a training, and the second continues while that training still runs."""
    out = tmp_path / "out"
    line = [sys.executable, "-m", "saddlepoint", "sweep", "sweep=tiny", "--config-dir", str(conf(trials=3)),
            f"outputs={out}", "images=9600", "workers=2"]  # fmt: skip
    first = subprocess.Popen(line, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    until = time.monotonic() + 200
    while not list(out.glob("tiny/trial1/seed0/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    configs = {path: path.read_text() for path in out.glob("tiny/trial*/.seed0.yaml")}
    assert configs
    again = subprocess.run(line, capture_output=True, text=True, check=False, timeout=250)
    assert again.returncode == 0, again.stderr
    report = json.loads((out / "tiny" / "report" / "trials.json").read_text())
    assert [(trial["number"], trial["state"]) for trial in report["trials"]] == [(i, "finished") for i in range(3)]
    assert {path: path.read_text() for path in configs} == configs  # the same values, all digits
    for trial in report["trials"]:
        run = Run(out / "tiny" / f"trial{trial['number']}" / "seed0")
        assert run.summary["final"]["fid_digits_900_train"]["value"]
        assert [row[KEY] for row in run.rows() if KEY in row][-1] == trial["value"]
    overrides = ["experiment=tiny_winner", f"outputs={tmp_path}", "logger=none", "seed=1000", "images=1280"]
    assert any(KEY in row for row in train(compose(overrides, out / "tiny" / "winner")).rows() if row["images"] >= 1280)
