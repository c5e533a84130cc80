"""saddlepoint sweep: what a sweep file says, what is refused before any trial, how a trial is trained, who won."""

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
from saddlepoint.config.identity import identity_differences
from saddlepoint.error import Mistake
from saddlepoint.experiment.train import train
from saddlepoint.launcher.local import Local
from saddlepoint.run.folder import Run
from saddlepoint.sweep import to_experiment
from saddlepoint.sweep import trial as module
from saddlepoint.sweep.plan import parse_metric
from saddlepoint.sweep.space import Choice, Range
from saddlepoint.sweep.study import FINISHED, TrialRecord
from saddlepoint.sweep.sweep import _conclude, check_space
from saddlepoint.sweep.sweep_file import load_plan, parse_space
from saddlepoint.sweep.trial import TrialProcess, build_starter, trial_config
from saddlepoint.sweep.trial_table import TrialTable
from saddlepoint.sweep.worker import AttemptResult

TINY = {
    "space": {"optimizer.generator.lr": {"low": 1e-4, "high": 1e-2, "log": True}},
    "words": [*(word for word in SMALL if word != "batch=64"), "metric=[frechet_distance]", "evaluation.second=null"],
    "metric": "fid",
    "sampler": "random",
    "trials": 3,
}


@pytest.fixture
def conf(tmp_path: Path):
    """Writes a sweep file, `tiny` with changes, into a folder of one's own."""

    def write(**changes) -> Path:
        (tmp_path / "conf" / "sweep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / "sweep" / "tiny.yaml").write_text(yaml.safe_dump({**TINY, **changes}))
        return tmp_path / "conf"

    return write


def planned(folder: Path, *words: str):
    keys = catalogue.command_keys("sweep")
    own, rest = [w for w in words if w.partition("=")[0] in keys], [w for w in words if w.partition("=")[0] not in keys]
    return load_plan(compose(["sweep=tiny", *own], None, "sweep"), rest, folder)


# ------------------------------------------------------------------------------------------------- what a file says


def test_a_space_has_ranges_choices_and_bundles_of_words() -> None:
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


@pytest.mark.slow  # every end of each dimension is built
def test_a_sweep_of_ours_is_read_composed_and_built(checkout: Path) -> None:
    for name in catalogue.option_names("sweep"):
        found = load_plan(compose([f"sweep={name}"], None, "sweep"))
        base = check_space(found)
        assert base.evaluation.selection.split == "validation"
        assert (checkout / "conf" / "sweep" / f"{name}.yaml").read_text().count(f"saddlepoint sweep sweep={name}")


def test_the_command_line_has_the_last_word_and_where_it_runs_makes_no_other_search(conf) -> None:
    folder = conf(sampler={"name": "tpe", "seed": 3}, pruner="median")
    found = planned(folder, "trials=9", "seeds=[4,5]", "pruner=none", "name=mine", "images=640", "cache=/elsewhere")
    assert (found.name, found.n_trials, found.seeds, found.pruner) == ("mine", 9, (4, 5), None)
    assert (found.sampler.name, found.sampler.seed) == ("tpe", 3)
    assert found.overrides[-1] == "images=640"
    assert set(found.machine_overrides) == {"cache=/elsewhere", "logger=none"}
    assert (
        found.defining_settings
        == planned(folder, "trials=2", "seeds=[4,5]", "name=mine", "images=640").defining_settings
    )


def test_a_trial_is_scored_on_validation_whatever_is_reported(conf) -> None:
    folder = conf()
    config = trial_config(planned(folder, "evaluation.selection.split=null"), {})
    assert (config.evaluation.split, config.evaluation.selection.split) == ("train", "validation")
    every = trial_config(planned(folder, "evaluation.split=validation"), {})
    assert every.evaluation.split == "validation"


def test_a_trials_config_has_its_values_its_bundle_and_its_place(conf, tmp_path: Path) -> None:
    folder = conf(space={**TINY["space"], "smoothing": {"off": [], "on": ["objective.discriminator.real_label=0.9"]}})
    asked = planned(folder, "logger=wandb")
    config = trial_config(asked, {"optimizer.generator.lr": 0.003, "smoothing": "on"})
    assert (config.optimizer.generator.lr, config.objective.discriminator.real_label) == (0.003, 0.9)
    assert config.choice.smoothing == "on"
    assert config.logger.group == "tiny"
    assert "smoothing=on" in config.logger.tags


# ---------------------------------------------------------------------------------------------- what cannot be meant

KEY = "fid_digits_450_validation"
LR, EVERY = "optimizer.generator.lr", "game.players.generator.every"


def over(key: str, **said) -> dict:
    """A sweep over one key."""
    return {"space": {key: said}}


BAD = {
    "an unknown key": (over(LR + "r", low=1, high=2), [], "lrr. Did you mean optimizer.generator.lr"),
    "an unknown choice": (over("objective", choices=["hinge", "hing"]), [], "hing. Did you mean hinge"),
    "a value out of range": (over("batch", low=0, high=64), [], "space.batch, 0: batch=0: batch is a whole number"),
    "a value that a player refuses": (over(EVERY, low=0, high=5), [], "generator.every, 0: "),
    "a value that torch refuses": (over(LR, low=-1.0, high=1.0), [], "Invalid learning rate: -1.0"),
    "a fraction of a whole number": (over("batch", low=1.5, high=64.0), [], "batch=1.5"),
    "low above high": (over("batch", low=9, high=3), [], "space.batch: low 9 is above high 3"),
    "log from zero": (over(LR, low=0, high=1, log=True), [], "log needs low above 0"),
    "log in steps": (over("batch", low=1, high=9, log=True, step=2), [], "log and step exclude each other"),
    "no number": (over("batch", low="a", high=9), [], "space.batch.low=a: space.batch.low is a number"),
    "half a range": (over("batch", low=1), [], "space.batch: no high: a range is"),
    "a mistyped bound": (over("batch", low=1, hihg=9), [], "no such key: hihg. Did you mean high?"),
    "a choice twice": (over("batch", choices=[8, 8]), [], "8 stands twice"),
    "a list in the place of a range": ({"space": {"batch": [8, 16]}}, [], "space.batch: {low, high, log, step}"),
    "no space": ({"space": {}}, [], "space: {key:"),
    "a lucky seed": (over("seed", low=0, high=99), [], "a lucky seed is no setting"),
    "another ruler": (over("evaluation.n", low=100, high=450), [], "how a score is measured"),
    "another extractor in a bundle": (
        {"space": {"how": {"few": ["evaluation.n=100"], "many": ["batch=8"]}}}, [], "evaluation.n=100: how a score"
    ),
    "other data": (over("data", choices=["digits", "gaussians"]), [], "space.data, gaussians: "),
    "no metric": ({"metric": None}, [], "by which score?"),
    "a reported metric": ({"metric": "fid_digits_900_train"}, [], "measured on reals that are reported"),
    "a metric that nobody measures": ({"metric": "coverage"}, [], "no trial measures it on validation, where there is"),
    "the test split": ({}, ["evaluation.split=test"], "a search measures nothing on test"),
    "all splits": ({}, ["evaluation.split=all"], "a search measures nothing on test"),
    "selection on test": ({}, ["evaluation.selection.split=test"], "a search chooses on validation"),
    "nobody who measures": ({}, ["callback=[journal]"], "+callback=evaluation"),
    "an unknown file key": ({"trails": 3}, [], "no such key: trails. Did you mean trials?"),
    "a seed among the words": ({"words": ["seed=3"]}, [], "sweep tiny: words: seed=3: seeds=[0, 1] says the seeds"),
    "a seed on the line": ({}, ["seed=3"], "saddlepoint: seed=3: seeds=[0, 1] says the seeds"),
    "a word that is searched": ({}, [f"{LR}=1e-3"], f"saddlepoint: {LR}=1e-3: {LR} is searched"),
    "a searched word of a file": ({"words": [f"++{LR}=1"]}, [], f"sweep tiny: words: ++{LR}=1: {LR} is searched"),
    "permission from a file": ({"words": ["allow_target=[os]"]}, [], "a file may not"),
    "a setting of the wrong kind": ({"sampler": {"name": "tpe", "n_ei_candidates": 0}}, [], "sampler tpe fails with"),
    "a list of samplers": ({}, ["sampler=[tpe]"], "sampler=[tpe]: sampler is a mapping of names, text or null"),
    "an unknown sampler": ({}, ["sampler=tpee"], "no such sampler: tpee. Did you mean tpe?"),
    "an unknown pruner": ({}, ["pruner=medain"], "no such pruner: medain. Did you mean median?"),
    "a grid without steps": ({}, ["sampler=grid"], "a grid needs a step, or choices, for optimizer.generator.lr"),
    "no trials": ({}, ["trials=0"], "trials=0: trials is a whole number from 1 on or null"),
    "no workers": ({}, ["workers=0"], "workers is a whole number from 1 on"),
    "a seed twice": ({}, ["seeds=[1,1]"], "seeds=[1, 1] has one twice"),
    "no name": ({}, ["name=a/b"], "a name has letters"),
    "an unknown storage": ({}, ["storage=mysql"], "storage=mysql: storage is one of sqlite, journal"),
    "a cluster": ({}, ["launcher=submitit"], "launcher=local"),
    "several values": ({}, ["batch=8,16"], "batch=8,16"),
}  # fmt: skip


OFTEN = {  # one of each kind of refusal; all of them when slow tests run
    "an unknown key", "a value that torch refuses", "half a range", "a mistyped bound", "another ruler",
    "a reported metric", "a seed on the line", "a word that is searched", "a metric that nobody measures",
    "the test split", "permission from a file",
    "an unknown sampler", "a grid without steps",
    "no workers",
}  # fmt: skip


@pytest.mark.parametrize("case", [c if c in OFTEN else pytest.param(c, marks=pytest.mark.slow) for c in BAD])
def test_what_cannot_be_searched_is_told_before_any_trial(case: str, conf, tmp_path: Path, capsys) -> None:
    changes, words, told = BAD[case]
    line = ["sweep", "sweep=tiny", "--config-dir", str(conf(**changes)), f"outputs={tmp_path / 'out'}", *words]
    assert main(line) == 1
    said = capsys.readouterr().err
    assert told in said
    assert len(said.splitlines()) <= 2
    assert not list((tmp_path / "out").glob("*/*")) if (tmp_path / "out").exists() else True


def test_a_dimension_that_changes_the_reals_is_refused(conf) -> None:
    """No two trials could be compared; how many of them are trained on, and in which batches, may be searched."""
    words = [*TINY["words"], "data=gaussians"]
    for key, value in {"kind": "grid-P", "draw": 1}.items():
        folder = conf(words=words, space={f"data.{key}": {"choices": [value]}})
        with pytest.raises(Mistake, match=rf"space\.data\.{key}, {value}: it changes how a trial is measured"):
            check_space(planned(folder))
    check_space(planned(conf(words=words, space={"data.number": {"choices": [600]}, "data.batch": {"choices": [8]}})))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "which sweep? sweep=<name>; there are: digits"),
        (["sweep=digit"], "no such sweep: digit. Did you mean digits?"),
    ],
)
def test_a_sweep_that_is_not_there_is_told_with_those_that_are(words: list[str], told: str, capsys) -> None:
    assert main(["sweep", *words]) == 1
    assert told in capsys.readouterr().err


def test_a_file_that_is_no_yaml_is_told_by_its_line(conf, tmp_path: Path, capsys) -> None:
    folder = conf()
    (folder / "sweep" / "tiny.yaml").write_text("space: {a: [}\n")
    assert main(["sweep", "sweep=tiny", "--config-dir", str(folder)]) == 1
    assert "tiny.yaml, line 1 cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["sweep", "--help"], ["sweep", "--cfg", "job"]], ids=" ".join)
def test_a_quick_answer_imports_neither_torch_nor_optuna(words: list[str]) -> None:
    after = "print(*sys.modules, sep='\\n', file=sys.stderr)"
    script = f"import sys; from saddlepoint.cli import main; main({words!r}); {after}"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "optuna", "sqlalchemy", "matplotlib"} & set(answer.stderr.split())
    assert "trials" in answer.stdout


# ----------------------------------------------------------------------------------------------- how a trial is trained


class Fake(Local):
    """Starts a line of shell in the place of a training."""

    def __init__(self, line: str) -> None:
        super().__init__(processes=1, gpus=0)
        self.line, self.begun = line, 0

    def started(self, job, slot):
        job.command, self.begun = ["sh", "-c", self.line], self.begun + 1
        return super().start_job(job, slot)


def training(conf, tmp_path: Path, line: str, *words: str) -> TrialProcess:
    asked = planned(conf(), "images=1280", *words)
    return build_starter(asked, tmp_path / "out", Fake(line))(0, {"optimizer.generator.lr": 0.001}, 0, 0)


def journal(attempt: TrialProcess, *rows: dict) -> None:
    attempt.run.folder.mkdir(parents=True, exist_ok=True)
    attempt.run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def awaited(attempt: TrialProcess, seconds: float = 20.0) -> AttemptResult:
    until = time.monotonic() + seconds
    while (ended := attempt.poll()) is None and time.monotonic() < until:
        time.sleep(0.01)
    assert ended is not None
    return ended


def score(images: int, value: float, **more) -> dict:
    return {"images": images, "fid_digits_900_train": 1.0, "fid_digits_450_validation": value, **more}


def test_scores_count_at_the_images_at_which_they_were_due(conf, tmp_path: Path) -> None:
    """Also where batches of other sizes reach them later; the untrained and the last one are none to be stopped by."""
    attempt = training(conf, tmp_path, "exit 0")
    journal(
        attempt, score(0, 90.0), {"images": 128}, score(672, 50.0), score(1312, 40.0), score(1312, 40.0, final=True)
    )
    assert attempt.curve() == {640: 50.0}
    assert awaited(attempt) == AttemptResult(40.0)
    assert attempt.job.folder == tmp_path / "out" / "trial0" / "seed0"


def test_a_training_that_fails_says_its_last_words(conf, tmp_path: Path) -> None:
    assert awaited(training(conf, tmp_path, "echo saddlepoint: it diverged; exit 1")) == AttemptResult(
        reason="saddlepoint: it diverged"
    )


def test_a_training_that_is_killed_says_by_what_before_its_last_words(conf, tmp_path: Path) -> None:
    killed = training(conf, tmp_path / "a", "kill -9 $$")
    assert awaited(killed) == AttemptResult(reason="killed by SIGKILL (out of memory?)")
    spoke = training(conf, tmp_path / "b", "echo half an epoch; kill -SEGV $$")
    assert awaited(spoke) == AttemptResult(reason="killed by SIGSEGV: half an epoch")


def test_a_training_without_the_score_says_which_it_has(conf, tmp_path: Path) -> None:
    attempt = training(conf, tmp_path, "exit 0", "evaluation.split=validation")
    journal(attempt, {"images": 1280, "coverage_digits_450_validation": 0.1, "rounds": 20})
    assert awaited(attempt) == AttemptResult(other_scores=["coverage_digits_450_validation"])


def test_a_training_that_is_given_up_is_told_to_end_and_killed_if_it_does_not(
    conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    polite = training(conf, tmp_path, "exec sleep 60")
    polite.stop()
    assert "15" in awaited(polite).reason or polite.job.exit_code == -signal.SIGTERM
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    deaf = training(conf, tmp_path / "deaf", "trap '' TERM; while :; do sleep 0.05; done")
    time.sleep(0.3)  # the shell has to have set its trap
    deaf.stop()
    awaited(deaf)
    assert deaf.job.exit_code == -signal.SIGKILL


def test_a_run_that_another_process_still_trains_is_waited_for_and_not_begun_twice(conf, tmp_path: Path) -> None:
    """The process of a command that was killed trains on; it ends, and what it left is gone on with."""
    folder = tmp_path / "out" / "trial0" / "seed0"
    with Run(folder).lock():
        attempt = training(conf, tmp_path, "exit 0")
        assert [attempt.poll() for _ in range(3)] == [None] * 3
        assert attempt.local.begun == 0  # pyright: ignore[reportAttributeAccessIssue]
    journal(attempt, score(1280, 7.0))
    assert awaited(attempt) == AttemptResult(7.0)
    assert attempt.local.begun == 1  # pyright: ignore[reportAttributeAccessIssue]


def test_a_finished_run_is_not_trained_again(conf, tmp_path: Path) -> None:
    attempt = training(conf, tmp_path, "exit 0")
    journal(attempt, score(1280, 7.0))
    OmegaConf.save(attempt.config, attempt.run.config)
    attempt.run.update_summary(status="finished")
    awaited(attempt)
    again = training(conf, tmp_path, "exit 1")
    assert awaited(again) == AttemptResult(7.0)
    assert again.local.begun == 0  # pyright: ignore[reportAttributeAccessIssue]


def test_a_run_that_an_alarm_stopped_is_a_failed_one_and_not_begun_again(conf, tmp_path: Path) -> None:
    line = "exit 1", "callback.health.stop=[collapse]"
    attempt = training(conf, tmp_path, *line)
    awaited(attempt)
    journal(attempt, score(640, 7.0))
    OmegaConf.save(attempt.config, attempt.run.config)
    attempt.run.update_summary(status="stopped", error="the run was stopped by collapse")
    again = training(conf, tmp_path, *line)
    assert awaited(again) == AttemptResult(reason="the run was stopped by collapse")
    assert again.local.begun == 0  # pyright: ignore[reportAttributeAccessIssue]


# ---------------------------------------------------------------------------------------------------- the whole command


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials whose score is how far the learning rate is from 0.001, without a training."""

    def start(number, params, seed, place):
        if number == 1:
            raise Mistake("this one crashed")
        value = AttemptResult(abs(params["optimizer.generator.lr"] - 1e-3) + seed)
        return SimpleNamespace(curve=dict, ended=lambda: value, stop=lambda: None)

    monkeypatch.setattr("saddlepoint.sweep.sweep.build_starter", lambda *asked: start)


@pytest.mark.slow  # what is left is tried by a formula in tests/search, the winner below
def test_a_sweep_leaves_tables_drawings_and_a_winner_that_is_the_trial(
    conf, tmp_path: Path, formula: None, capsys
) -> None:
    space = {**TINY["space"], "objective": {"choices": ["hinge", "nonsaturating"]}, "smoothing": {
        "off": [], "on": ["+regularizer=r1", "regularizer.discriminator.r1.weight=0.1"]}}  # fmt: skip
    source, out = conf(space=space), tmp_path / "out"
    line = ["sweep", "sweep=tiny", "--config-dir", str(source), f"outputs={out}", "trials=6", "seeds=[0,2]",
            "storage=journal"]  # fmt: skip
    assert main(line) == 0
    said = " ".join(capsys.readouterr())
    assert "6 trials: 1 failed, 5 finished" in said or "6 trials: 5 finished, 1 failed" in said
    assert "failed    trial 1" in said
    assert "this one crashed" in said
    assert "flattered" in said
    report = out / "tiny" / "report"
    for name in ("history", "parallel", "importance"):
        with Image.open(report / f"{name}.png") as picture:
            assert picture.width > 500
    whole = json.loads((report / "trials.json").read_text())
    assert Counter(one["state"] for one in whole["trials"]) == {"finished": 5, "failed": 1}
    assert whole["trials"][0]["values"][1] == pytest.approx(whole["trials"][0]["values"][0] + 2)
    best = min((one for one in whole["trials"] if one["value"]), key=lambda one: one["value"])
    assert f"trial {best['number']}" in (out / "tiny" / "winner" / "experiment" / "tiny_winner.yaml").read_text()
    assert (report / "trials.csv").read_text().count("\n") == 7
    config = compose(["experiment=tiny_winner"], out / "tiny" / "winner")
    assert identity_differences(trial_config(planned(source, "seeds=[0,2]"), best["params"]), config) == []
    assert [config.images, list(config.choice.metric)] == [1280, ["frechet_distance"]]


@pytest.mark.parametrize(
    "words",
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
def test_whatever_can_be_said_in_words_can_win(words: list[str], tmp_path: Path) -> None:
    config = compose(words)
    to_experiment.write_experiment(config, tmp_path, "w", ["it won"], None)
    again = compose(["experiment=w"], tmp_path)
    assert identity_differences(config, again) == []
    for key in ("images", "evaluation", "metric", "callback"):
        assert again[key] == config[key]


@pytest.mark.parametrize(("metric", "best"), [("fid", 1), ("coverage", 2)])
def test_the_winner_is_the_best_trial_whichever_way_is_good(metric: str, best: int, conf, tmp_path: Path) -> None:
    """And what is printed to copy it among one's own pieces can be typed."""
    folder, said = conf(metric=metric), []
    asked, scores = planned(folder), (0.5, 0.1, 0.9, 0.3)
    board = TrialTable(SimpleNamespace(plan=asked), Console(quiet=True), 1)  # pyright: ignore[reportArgumentType]
    board.trials = [TrialRecord(i, FINISHED, {LR: (i + 1) / 1000}, score, {}) for i, score in enumerate(scores)]
    assert _conclude(asked, board, tmp_path / "out", str(folder), said.append)
    (path,) = (tmp_path / "out").glob("winner/experiment/*.yaml")
    assert f"trial {best}," in path.read_text()
    assert OmegaConf.load(path).optimizer.generator.lr == (best + 1) / 1000
    (copy,) = (line for line in said if "cp " in line)
    subprocess.run(copy, shell=True, check=True)
    assert (folder / "experiment" / path.name).read_text() == path.read_text()


def test_a_winner_that_yaml_cannot_say_is_told(tmp_path: Path) -> None:
    config = compose(["~architecture.discriminator.widths"])
    with pytest.raises(Mistake, match=r"cannot be written as an experiment: architecture\.discriminator\.widths"):
        to_experiment.write_experiment(config, tmp_path, "w", [], None)
    assert not list((tmp_path / "experiment").iterdir())


def test_where_nothing_finished_nothing_won(conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    lost = SimpleNamespace(curve=dict, ended=lambda: AttemptResult(reason="lost"), stop=lambda: None)
    monkeypatch.setattr("saddlepoint.sweep.sweep.build_starter", lambda *asked: lambda *seed: lost)
    line = ["sweep", "sweep=tiny", "--config-dir", str(conf()), f"outputs={tmp_path / 'out'}", "storage=journal"]
    assert main(line) == 1
    assert "no trial finished" in capsys.readouterr().err


def test_a_sweep_says_who_won_on_stdout(conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    won = SimpleNamespace(curve=dict, ended=lambda: AttemptResult(0.5), stop=lambda: None)
    monkeypatch.setattr("saddlepoint.sweep.sweep.build_starter", lambda *asked: lambda *seed: won)
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
    """Its line, filled in by W&B's own code, trains 256 images, and logs the score that it names."""
    whole = yaml.safe_load((checkout / "scripts" / "wandb_sweep.yaml").read_text())
    ours = load_plan(compose(["sweep=digits"], None, "sweep"))
    assert set(whole["parameters"]) == {one.key for one in ours.space}
    for one in ours.space:
        assert isinstance(one, Range)
        assert [whole["parameters"][one.key][end] for end in ("min", "max")] == [one.low, one.high]
    assert set(ours.overrides) < set(whole["command"])
    args = {key: {"value": one["min"]} for key, one in whole["parameters"].items()}
    filled = create_sweep_command_args({"args": args})
    line: list[str] = []
    for chunk in create_sweep_command(whole["command"]):
        line += filled[name] if (name := chunk.strip("${}")) in filled else [chunk]
    known = {"${env}": "/usr/bin/env", "${interpreter}": "python", "${program}": str(checkout / whole["program"])}
    line = [known.get(chunk, chunk) for chunk in line]
    assert shlex.join(line).startswith("/usr/bin/env python ")
    short = ["images=256", "callback.evaluation.images_between=128", f"outputs={tmp_path}", "logger.mode=offline"]
    monkeypatch.setattr(sys, "argv", [*line[2:], *short])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(line[2], run_name="__main__")
    assert end.value.code == 0
    (summary,) = tmp_path.glob("*/seed0/summary.json")
    rows = list(Run(summary.parent).rows())
    assert parse_metric(whole["metric"]["name"]).find_key(rows[-1]) == whole["metric"]["name"]
    assert whole["metric"]["goal"] == ours.metric.direction
    assert Run(summary.parent).summary["images"] == 256


# ----------------------------------------------------------------------------------------------------------- for real


@pytest.mark.slow
def test_a_real_sweep_killed_in_the_middle_ends_with_exactly_its_trials(conf, tmp_path: Path) -> None:
    """Real processes: the first command is killed while one trains, and the second goes on beside what it left."""
    out = tmp_path / "out"
    line = [sys.executable, "-m", "saddlepoint", "sweep", "sweep=tiny", "--config-dir", str(conf(trials=3)),
            f"outputs={out}", "images=9600", "workers=2"]  # fmt: skip
    first = subprocess.Popen(line, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    until = time.monotonic() + 200
    while not list(out.glob("tiny/trial1/seed0/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {path: path.read_text() for path in out.glob("tiny/trial*/.seed0.yaml")}
    assert kept
    again = subprocess.run(line, capture_output=True, text=True, check=False, timeout=250)
    assert again.returncode == 0, again.stderr
    whole = json.loads((out / "tiny" / "report" / "trials.json").read_text())
    assert [(one["number"], one["state"]) for one in whole["trials"]] == [(i, "finished") for i in range(3)]
    assert {path: path.read_text() for path in kept} == kept  # the same values, to the last digit
    for one in whole["trials"]:
        run = Run(out / "tiny" / f"trial{one['number']}" / "seed0")
        assert run.summary["final"]["fid_digits_900_train"]["value"]
        assert [row[KEY] for row in run.rows() if KEY in row][-1] == one["value"]
    words = ["experiment=tiny_winner", f"outputs={tmp_path}", "logger=none", "seed=1000", "images=1280"]
    assert any(KEY in row for row in train(compose(words, out / "tiny" / "winner")).rows() if row["images"] >= 1280)
