"""saddlepoint train -m: what a command expands to, and that the same command again runs what is missing."""

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


def labels(*words: str) -> list[str]:
    return [label for label, _ in build_configs([*words])]


def test_every_combination_is_a_run_and_seeds_change_last() -> None:
    assert labels("objective=hinge,minimax", "seed=0,1", "batch=8") == [
        "seed=0 objective=hinge", "seed=0 objective=minimax", "seed=1 objective=hinge", "seed=1 objective=minimax",
    ]  # fmt: skip


def test_lists_ranges_and_additions_vary_too() -> None:
    assert labels("regularizer=[],[r1,r2]") == ["regularizer=[]", "regularizer=[r1,r2]"]
    assert len(build_configs(["seed=range(0,4)"])) == 4
    found = build_configs(["+regularizer=r1,r2", "objective.discriminator.real_label=0.9,1.0"])
    assert [config.choice.regularizer for _, config in found] == [["r1"], ["r1"], ["r2"], ["r2"]]
    assert [config.objective.discriminator.real_label for _, config in found] == [0.9, 1.0, 0.9, 1.0]


def test_runs_of_one_command_share_a_group_and_are_tagged_by_what_varies() -> None:
    found = [config.logger for _, config in build_configs(["objective=hinge,minimax", "seed=0,1"])]
    assert len({logger.group for logger in found}) == 1
    assert found[1].tags == ["seed=0", "objective=minimax"]
    other = build_configs(["objective=hinge,wasserstein", "seed=0,1"])[0][1].logger
    assert other.group != found[0].group
    assert build_configs(["seed=0,1", "logger.group=mine"])[0][1].logger.group == "mine"


def test_what_varies_in_an_experiment_has_names_and_levels(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "table.yaml").write_text(
        "# @package _global_\n"
        "many:\n  smoothing: {off: [], on: [objective.discriminator.real_label=0.9, +regularizer=r1]}\n  seed: [3, 4]\n"
    )
    found = build_configs(["experiment=table"], tmp_path)
    assert [label for label, _ in found] == [f"seed={s} smoothing={level}" for s in (3, 4) for level in ("off", "on")]
    off, on = found[0][1], found[1][1]
    assert (off.choice.smoothing, on.choice.smoothing) == ("off", "on")
    assert on.objective.discriminator.real_label == 0.9
    assert on.choice.regularizer == ["r1"]
    assert on.many == {}
    assert off.choice.smoothing == "off"
    said = {"seed=7,8": {7, 8}, "seed=5": {5}}  # the command line has the last word
    for word, seeds in said.items():
        assert {config.seed for _, config in build_configs(["experiment=table", word], tmp_path)} == seeds
    (only,) = build_configs(["experiment=table", "smoothing=on", "seed=5"], tmp_path)
    assert only[1].choice.smoothing == "on"
    with pytest.raises(Mistake, match="smoothing=onn: it can be off, on"):
        build_configs(["experiment=table", "smoothing=onn"], tmp_path)


def test_what_one_of_several_experiments_varies_is_not_dropped_in_silence() -> None:
    both = "experiment=objectives_digits,salimans2016_cifar10_semisupervised"
    with pytest.raises(Mistake, match="this experiment varies objectives itself"):
        build_configs([both, "seed=0"])


def test_a_tag_is_no_longer_than_wandb_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict = {}
    monkeypatch.setattr("wandb.init", lambda **settings: told.update(settings))
    WandbSession(mode="offline", tags=("x" * 70, "short")).start_run(tmp_path, {}, {}, print)
    assert told["tags"] == ["x" * 64, "short"]


def test_a_listed_value_arrives_as_it_was_written(tmp_path: Path) -> None:
    """false as false and not as the word off, which is true; a blank as a blank."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "table.yaml").write_text(
        "# @package _global_\n"
        'many:\n  optimizer.generator.amsgrad: [true, false]\n  outputs: ["a b", "it\'s"]\n  +regularizer: [[r1, r2]]\n'
    )
    found = [config for _, config in build_configs(["experiment=table"], tmp_path)]
    assert [config.optimizer.generator.amsgrad for config in found] == [True, True, False, False]
    assert [config.outputs for config in found] == ["a b", "it's"] * 2
    assert found[0].choice.regularizer == ["r1", "r2"]
    assert "outputs='a b'" in found[0].logger.tags


def test_the_ablation_is_the_whole_table_of_five_techniques() -> None:
    found = build_configs(["experiment=salimans2016_ablation_digits", "seed=range(2,3)"])
    assert len(found) == 32  # for each seed
    assert len({config.name for _, config in found}) == 32
    last = dict(found)[" ".join(["seed=2", *(f"{name}=on" for name in list(found[0][1].choice)[-5:])])]
    assert last.architecture.generator.norm._target_.endswith("VirtualBatchNorm")
    assert last.architecture.discriminator.neck.kernels == 10
    assert found[0][1].architecture.generator.norm._target_ == "torch.nn.BatchNorm1d"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["objective=hinge"], ["-m needs something to vary"]),
        (["objective=hinge,hing", "seed=0"], ["objective=hing", "hinge"]),
        (["objective=hinge,minimax", "lr=1,2"], ["no such key: lr"]),
        (["seed=0,1", "seed=2,3"], ["seed varies twice"]),
        (["name=mine", "objective=hinge,minimax"], ["are one run", "leave name=... out"]),
        (["outputs=a,b", "seed=0,1", "threads=1,2"], ["are one run", "does not change the training"]),
        (["seed=range(0,20000)"], ["20,000 runs"]),
        (["batch=0,1"], ["batch=0", "a whole number"]),
        (["optimizer.generator.lr=interval(0,1)"], ["interval(0,1)", "give the values themselves"]),
        (["objective=glob(*)"], ["glob(*)", "give the values themselves"]),
    ],
)
def test_a_mistake_is_told_before_anything_runs(words: list[str], parts: list[str]) -> None:
    with pytest.raises(Mistake) as mistake:
        build_configs(words)
    for part in parts:
        assert part in str(mistake.value)


def test_many_runs_are_for_train_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "-m", "run=a,b"]) == 2
    assert "-m is for saddlepoint train" in capsys.readouterr().err
    assert main(["train", "seed=0,1"]) == 1
    assert "saddlepoint train -m" in capsys.readouterr().err


def test_cfg_lists_the_runs_and_starts_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", "seed=0,1", f"outputs={tmp_path}", "--cfg", "job"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["seed=0", "seed=1"]
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_stops_no_other_and_again_runs_what_is_missing(tmp_path: Path) -> None:
    """Each in a process of its own: one diverges at once, since its learning rate is no number."""
    words = [*SMALL[:-1], f"outputs={tmp_path}", "optimizer.generator.lr=1e-3,1e30", "seed=0", "launcher.processes=2",
             "callback=[journal,checkpoint,finite]", "callback.finite.images_between=64"]  # fmt: skip
    command = [sys.executable, "-m", "saddlepoint", "train", "-m", *words]
    first = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert first.returncode == 1, first.stderr
    assert "1 finished, 1 failed" in first.stderr
    assert "lr=1e+30: saddlepoint:" in first.stderr.replace("1e30", "1e+30")
    good = next(path for path in tmp_path.glob("*/seed0/summary.json") if json.loads(path.read_text())["exit"] == 0)
    before = good.stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "1 finished before" in again.stderr
    assert good.stat().st_mtime_ns == before


def test_a_finished_run_is_known_by_its_config_and_not_by_its_folder(tmp_path: Path) -> None:
    _, config = build_configs([*SMALL, f"outputs={tmp_path}", "objective=hinge,minimax"])[0]
    folder = tmp_path / config.name / "seed0"
    folder.mkdir(parents=True)
    OmegaConf.save(config, folder / "config.yaml")
    (folder / "summary.json").write_text('{"status": "finished", "images": 128}')
    assert multirun.build_job("a", config).state == DONE_BEFORE
    config.images = 256
    assert multirun.build_job("a", config).state != DONE_BEFORE
    config.images = 128
    config.optimizer.generator.lr = 0.5
    assert multirun.build_job("a", config).state != DONE_BEFORE


def test_the_table_shows_what_runs_what_failed_and_how_long_it_takes_still(tmp_path: Path) -> None:
    jobs = [Job(f"objective=o{i}", [], tmp_path / str(i), tmp_path / f"{i}.log", 1000) for i in range(40)]
    for one in jobs[:30]:
        one.state, one.started_at, one.ended_at = FINISHED, 1.0, 11.0
    (tmp_path / "30.log").write_text("saddlepoint: the loss is not finite\n")
    jobs[30].mark_started()
    jobs[30].mark_ended(1)
    jobs[31].mark_started("gpu 1")
    console = Console(width=120, record=True, file=io.StringIO())
    board = RunTable(jobs, console, processes=2)
    console.print(board.build_view())
    text = console.export_text()
    assert "31 of 40 runs over, 1 failed" in text
    assert "the loss is not finite" in text
    assert "gpu 1" in text
    assert jobs[30].state == FAILED
    assert text.count("objective=") <= 14
    assert board.time_left == pytest.approx((10 + 8 * 10) / 2, abs=0.5)  # one runs since now, eight wait, two at a time


def test_a_run_that_an_alarm_stopped_is_left_stopped_and_told_as_long_as_alarms_may_stop(tmp_path: Path) -> None:
    words = ["name=x", "callback=[health]", f"outputs={tmp_path}", *SMALL[:3]]
    watched, unwatched = (compose([*words, f"callback.health.stop={stop}"]) for stop in ("[collapse]", "[]"))
    run = Run(multirun.build_job("", watched).folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(watched, run.config)
    run.update_summary(status="stopped", error="the run was stopped by collapse after 64 images")
    job = multirun.build_job("seed=0", watched)
    assert job.state == FAILED
    console = Console(file=(said := io.StringIO()), width=200)
    RunTable([job], console, 1).log_summary()
    assert "failed: seed=0: the run was stopped by collapse after 64 images" in said.getvalue()
    assert "again" not in said.getvalue()
    assert multirun.build_job("seed=0", unwatched).state == "waiting"  # who takes the word back goes on with it


@pytest.mark.slow
def test_the_same_command_twice_at_once_trains_each_run_once_and_both_end_well(tmp_path: Path) -> None:
    words = [*SMALL, f"outputs={tmp_path}", "seed=0,1", "images=640", "launcher.processes=1"]
    command = [sys.executable, "-m", "saddlepoint", "train", "-m", *words]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    elsewhere = [line for text in said for line in text.splitlines() if line.startswith("trained elsewhere: ")]
    assert elsewhere, said
    for line in elsewhere:
        assert re.fullmatch(
            r"trained elsewhere: seed=[01]: by process \d+, since [-\d]+ [:\d]+ UTC, which has finished it", line
        )
    for seed in (0, 1):
        (log,) = tmp_path.glob(f"*/.seed{seed}.log")
        assert log.read_text().count("run: ") == 1
        assert "in use" not in log.read_text()
