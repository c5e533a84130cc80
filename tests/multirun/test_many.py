"""saddlepoint train -m: the runs of a command, and that the same command again trains the unfinished ones."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.launcher.job import DONE_BEFORE, FAILED, FINISHED, Job
from saddlepoint.multirun import multirun
from saddlepoint.multirun.multirun import build_configs
from saddlepoint.multirun.run_table import RunTable
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.wandb_session import WandbSession

SMALL = ["images=128", "logger=none", "evaluation.extractor=null", "callback=[journal,checkpoint]"]


def labels(*overrides: str) -> list[str]:
    return [label for label, _ in build_configs([*overrides])]


def test_every_combination_is_a_run_and_seeds_are_the_outer_loop() -> None:
    assert labels("objective=hinge,minimax", "seed=0,1", "batch=8") == [
        "seed=0 objective=hinge", "seed=0 objective=minimax", "seed=1 objective=hinge", "seed=1 objective=minimax",
    ]  # fmt: skip


def test_lists_ranges_and_additions_vary_too() -> None:
    assert labels("regularizer=[],[r1,r2]") == ["regularizer=[]", "regularizer=[r1,r2]"]
    assert len(build_configs(["seed=range(0,4)"])) == 4
    configs = build_configs(["+regularizer=r1,r2", "objective.discriminator.real_label=0.9,1.0"])
    assert [config.choice.regularizer for _, config in configs] == [["r1"], ["r1"], ["r2"], ["r2"]]
    assert [config.objective.discriminator.real_label for _, config in configs] == [0.9, 1.0, 0.9, 1.0]


def test_runs_of_one_command_share_a_group_and_are_tagged_by_what_varies() -> None:
    loggers = [config.logger for _, config in build_configs(["objective=hinge,minimax", "seed=0,1"])]
    assert len({logger.group for logger in loggers}) == 1
    assert loggers[0].group == "digits-3d21d42d"  # the same in every version
    assert loggers[1].tags == ["seed=0", "objective=minimax"]
    other = build_configs(["objective=hinge,wasserstein", "seed=0,1"])[0][1].logger
    assert other.group != loggers[0].group
    assert build_configs(["seed=0,1", "logger.group=mine"])[0][1].logger.group == "mine"


def test_an_experiment_can_define_factors_with_named_levels(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "table.yaml").write_text(
        "# @package _global_\n"
        "many:\n  smoothing: {off: [], on: [objective.discriminator.real_label=0.9, +regularizer=r1]}\n  seed: [3, 4]\n"
    )
    configs = build_configs(["experiment=table"], tmp_path)
    assert [label for label, _ in configs] == [f"seed={s} smoothing={level}" for s in (3, 4) for level in ("off", "on")]
    off, on = configs[0][1], configs[1][1]
    assert (off.choice.smoothing, on.choice.smoothing) == ("off", "on")
    assert on.objective.discriminator.real_label == 0.9
    assert on.choice.regularizer == ["r1"]
    assert on.many == {}
    assert off.choice.smoothing == "off"
    expected = {"seed=7,8": {7, 8}, "seed=5": {5}}  # the command line takes precedence
    for override, seeds in expected.items():
        assert {config.seed for _, config in build_configs(["experiment=table", override], tmp_path)} == seeds
    (only,) = build_configs(["experiment=table", "smoothing=on", "seed=5"], tmp_path)
    assert only[1].choice.smoothing == "on"
    with pytest.raises(Mistake, match="smoothing=onn must be one of off, on"):
        build_configs(["experiment=table", "smoothing=onn"], tmp_path)


def test_the_factors_of_one_of_several_experiments_are_not_ignored_silently() -> None:
    experiments = "experiment=objectives_digits,salimans2016_cifar10_semisupervised"
    with pytest.raises(Mistake, match="this experiment varies objectives itself"):
        build_configs([experiments, "seed=0"])


def test_tags_are_cut_to_the_length_that_wandb_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict = {}
    monkeypatch.setattr("wandb.init", lambda **settings: arguments.update(settings))
    WandbSession(mode="offline", tags=("x" * 70, "short")).start_run(tmp_path, {}, {}, print)
    assert arguments["tags"] == ["x" * 64, "short"]


def test_a_listed_value_keeps_its_type_and_text(tmp_path: Path) -> None:
    """false stays false and does not become the text off, which is true; a blank stays a blank."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "table.yaml").write_text(
        "# @package _global_\n"
        'many:\n  optimizer.generator.amsgrad: [true, false]\n  outputs: ["a b", "it\'s"]\n  +regularizer: [[r1, r2]]\n'
    )
    configs = [config for _, config in build_configs(["experiment=table"], tmp_path)]
    assert [config.optimizer.generator.amsgrad for config in configs] == [True, True, False, False]
    assert [config.outputs for config in configs] == ["a b", "it's"] * 2
    assert configs[0].choice.regularizer == ["r1", "r2"]
    assert "outputs='a b'" in configs[0].logger.tags


def test_the_ablation_has_all_combinations_of_five_techniques() -> None:
    configs = build_configs(["experiment=salimans2016_ablation_digits", "seed=range(2,3)"])
    assert len(configs) == 32  # for each seed
    assert len({config.name for _, config in configs}) == 32
    last = dict(configs)[" ".join(["seed=2", *(f"{name}=on" for name in list(configs[0][1].choice)[-5:])])]
    assert last.architecture.generator.norm._target_.endswith("VirtualBatchNorm")
    assert last.architecture.discriminator.neck.kernels == 10
    assert configs[0][1].architecture.generator.norm._target_ == "torch.nn.BatchNorm1d"


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["objective=hinge"], ["-m needs something to vary"]),
        (["objective=hinge,hing", "seed=0"], ["objective=hing", "hinge"]),
        (["objective=hinge,minimax", "lr=1,2"], ["no such key: lr"]),
        (["seed=0,1", "seed=2,3"], ["seed varies twice"]),
        (["name=mine", "objective=hinge,minimax"], ["are one run", "leave out name=..."]),
        (["outputs=a,b", "seed=0,1", "threads=1,2"], ["are one run", "does not change the training"]),
        (["seed=range(0,20000)"], ["20,000 runs"]),
        (["batch=0,1"], ["batch=0", "an integer"]),
        (["optimizer.generator.lr=interval(0,1)"], ["interval(0,1)", "list the values"]),
        (["objective=glob(*)"], ["glob(*)", "list the values"]),
    ],
)
def test_an_error_is_raised_before_anything_runs(overrides: list[str], parts: list[str]) -> None:
    with pytest.raises(Mistake) as mistake:
        build_configs(overrides)
    for part in parts:
        assert part in str(mistake.value)


def test_several_runs_are_only_for_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "-m", "run=a,b"]) == 2
    assert "-m is for saddlepoint train" in capsys.readouterr().err
    assert main(["train", "seed=0,1"]) == 1
    assert "saddlepoint train -m" in capsys.readouterr().err


def test_cfg_lists_the_runs_and_starts_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", "seed=0,1", f"outputs={tmp_path}", "--cfg", "job"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["seed=0", "seed=1"]
    assert not list(tmp_path.iterdir())


def test_a_failed_run_stops_no_other_and_the_same_command_trains_the_unfinished_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each in its own process; one diverges at once, because its learning rate is huge."""
    overrides = [*SMALL[:-1], f"outputs={tmp_path}", "optimizer.generator.lr=1e-3,1e30", "seed=0",
                 "launcher.processes=2", "callback=[journal,checkpoint,finite]",
                 "callback.finite.images_between=64"]  # fmt: skip
    assert main(["train", "-m", *overrides]) == 1
    first = capfd.readouterr().err
    assert "1 finished, 1 failed" in first
    assert "lr=1e+30: saddlepoint:" in first.replace("1e30", "1e+30")
    good = next(path for path in tmp_path.glob("*/seed0/summary.json") if json.loads(path.read_text())["exit"] == 0)
    before = good.stat().st_mtime_ns
    assert main(["train", "-m", *overrides]) == 1
    assert "1 finished before" in capfd.readouterr().err
    assert good.stat().st_mtime_ns == before


def test_a_finished_run_is_recognised_by_its_config_not_by_its_folder(tmp_path: Path) -> None:
    _, config = build_configs([*SMALL, f"outputs={tmp_path}", "objective=hinge,minimax"])[0]
    folder = tmp_path / config.name / "seed0"
    folder.mkdir(parents=True)
    OmegaConf.save(config, folder / "config.yaml")
    (folder / "summary.json").write_text('{"status": "finished", "images": 128}')
    assert multirun.build_job_and_write_config("a", config).state == DONE_BEFORE
    config.images = 256
    assert multirun.build_job_and_write_config("a", config).state != DONE_BEFORE
    config.images = 128
    config.optimizer.generator.lr = 0.5
    assert multirun.build_job_and_write_config("a", config).state != DONE_BEFORE


def test_the_table_shows_running_and_failed_jobs_and_the_time_left(tmp_path: Path) -> None:
    jobs = [Job(f"objective=o{i}", [], tmp_path / str(i), tmp_path / f"{i}.log", 1000) for i in range(40)]
    for job in jobs[:30]:
        job.state, job.started_at, job.ended_at = FINISHED, 1.0, 11.0
    (tmp_path / "30.log").write_text("saddlepoint: the loss is not finite\n")
    jobs[30].mark_started()
    jobs[30].mark_ended(1)
    jobs[31].mark_started("gpu 1")
    console = Console(width=120, record=True, file=io.StringIO())
    table = RunTable(jobs, console, processes=2)
    console.print(table.build_view())
    text = console.export_text()
    assert "31 of 40 runs over, 1 failed" in text
    assert "the loss is not finite" in text
    assert "gpu 1" in text
    assert jobs[30].state == FAILED
    assert text.count("objective=") <= 14
    assert table.time_left == pytest.approx(
        (10 + 8 * 10) / 2, abs=0.5
    )  # one has just started, eight wait, two at a time


def test_the_line_of_a_finished_run_has_the_alarms_that_it_raised(tmp_path: Path) -> None:
    jobs = [Job(f"seed={i}", [], tmp_path / f"seed{i}", tmp_path / f"{i}.log", 1000) for i in range(2)]
    for job in jobs:
        job.state, job.started_at, job.ended_at = FINISHED, 1.0, 11.0
        job.run.folder.mkdir()
    event = {"images": 10, "rule": "collapse", "event": "raised"}
    (jobs[1].run.folder / "health.jsonl").write_text(json.dumps(event) + "\n")
    (jobs[1].run.folder / "postmortem.md").write_text("# Post-mortem\n")
    quiet, alarmed = (RunTable(jobs, Console(file=io.StringIO()), 1).row_message(job) for job in jobs)
    assert "alarm" not in quiet
    assert ", alarms: collapse  [2/2]" in alarmed


def test_a_run_that_an_alarm_stopped_is_not_continued_while_alarms_may_stop_runs(tmp_path: Path) -> None:
    overrides = ["name=x", "callback=[health]", f"outputs={tmp_path}", *SMALL[:3]]
    watched, unwatched = (compose([*overrides, f"callback.health.stop={stop}"]) for stop in ("[collapse]", "[]"))
    run = Run(multirun.build_job_and_write_config("", watched).folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(watched, run.config)
    run.update_summary(status="stopped", error="the run was stopped by collapse after 64 images")
    job = multirun.build_job_and_write_config("seed=0", watched)
    assert job.state == FAILED
    console = Console(file=(output := io.StringIO()), width=200)
    RunTable([job], console, 1).log_summary()
    assert "failed: seed=0: the run was stopped by collapse after 64 images" in output.getvalue()
    assert "again" not in output.getvalue()
    assert (
        multirun.build_job_and_write_config("seed=0", unwatched).state == "waiting"
    )  # without that setting it continues


@pytest.mark.slow
def test_the_same_command_twice_at_once_trains_each_run_once_and_both_succeed(tmp_path: Path) -> None:
    overrides = [*SMALL, f"outputs={tmp_path}", "seed=0,1", "images=640", "launcher.processes=1"]
    command = [sys.executable, "-m", "saddlepoint", "train", "-m", *overrides]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    elsewhere = [line for text in outputs for line in text.splitlines() if line.startswith("trained elsewhere: ")]
    assert elsewhere, outputs
    for line in elsewhere:
        assert re.fullmatch(
            r"trained elsewhere: seed=[01]: by process \d+, since [-\d]+ [:\d]+ UTC, which has finished it", line
        )
    for seed in (0, 1):
        (log,) = tmp_path.glob(f"*/.seed{seed}.log")
        assert log.read_text().count("run: ") == 1
        assert "in use" not in log.read_text()
