"""Many runs of one command: a process for each combination of values, from a frozen config (docs/many.md)."""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from saddlepoint.config import config_file
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.config_file import training_command, write_config
from saddlepoint.config.identity import identity
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.path import resolve_paths
from saddlepoint.error import Mistake
from saddlepoint.launcher.job import DONE_BEFORE, FAILED, TRAINED_ELSEWHERE, Job, claim_log, release_log
from saddlepoint.launcher.pool import raise_on_ending_signal
from saddlepoint.multirun.factor import Factor, Level, describe_factors, merge_factors, parse_many, split_factors
from saddlepoint.multirun.run_table import RunTable
from saddlepoint.run import destination, layout
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.wandb_session import user_setting, user_tags

ENOUGH = 10_000  # runs: more than that is a mistyped range


def build_configs(words: Sequence[str], config_dir: str | Path | None = None) -> list[tuple[str, DictConfig]]:
    """Each combination as (what makes it differ, its config), seeds slowest.  Raises Mistake, before anything runs."""
    fixed, said = split_factors(words)
    many: Any = OmegaConf.to_container(compose([w for w in fixed if w.startswith("experiment=")], config_dir).many)
    fixed, factors = merge_factors(fixed, {factor.name: factor for factor in parse_many(many)}, said)
    base = compose(fixed, config_dir)
    if not factors:
        raise Mistake("-m needs something to vary: key=a,b, or an experiment that says many: ...")
    ordered = sorted(factors.values(), key=lambda factor: factor.name != "seed")
    if (number := prod(len(factor.levels) for factor in ordered)) > ENOUGH:
        raise Mistake(f"these are {number:,} runs, more than {ENOUGH:,}: {describe_factors(ordered)}")
    asked = repr((sorted(fixed), [(factor.name, factor.levels) for factor in ordered]))
    digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
    group = f"{base.choice.get('experiment') or base.choice.data}-{digest}"  # the runs' in W&B
    found = []
    for levels in product(*(factor.levels for factor in ordered)):
        chosen = dict(zip(ordered, levels, strict=True))
        label = " ".join(f"{factor.name}={level.name}" for factor, level in chosen.items())
        found.append((label, _config(fixed, chosen, label, group, config_dir)))
    folders: dict[Path, str] = {}
    for label, config in found:
        if (other := folders.setdefault(folder_of_config(config), label)) != label:
            why = "what differs does not change the training; vary something else"
            if config.get("name") and not re.search(r"-[0-9a-f]{8}$", config.name):
                why = "leave name=... out, and each gets its own"
            raise Mistake(f"{other} and {label} are one run, {folder_of_config(config)}: {why}")
    return found


def _config(
    fixed: Sequence[str],
    chosen: Mapping[Factor, Level],
    label: str,
    group: str,
    config_dir: str | Path | None,
) -> DictConfig:
    words = [word for level in chosen.values() for word in level.overrides]
    try:
        config = compose([*fixed, *words], config_dir)
        check(config)
        said = {*(word.partition("=")[0] for word in fixed), *(factor.name for factor in chosen)}
        if "experiment" in said and (unheard := [str(name) for name in config.many if str(name) not in said]):
            raise Mistake(
                f"this experiment varies {', '.join(unheard)} itself, which is not heard beside another one. Give one "
                "experiment at a time"
            )
    except Mistake as mistake:
        raise Mistake(f"{label}: {mistake}") from None
    named = {factor.name: level.name for factor, level in chosen.items() if factor.has_bundles}
    make_single_run(config, named, group, [f"{factor.name}={level.name}" for factor, level in chosen.items()])
    return config


def make_single_run(
    config: DictConfig, named: Mapping[str, Any] | None = None, group: str | None = None, tags: Sequence[str] = ()
) -> None:
    """Make it the config of one run among many, which a process of its own trains.

    named          the bundles of words by whose name it is known, put on record with its pieces
    group, tags    that W&B is told, where the config or the user of W&B say no group, and beside their tags
    """
    with open_dict(config):
        config.many = {}
        config.threads = config.threads or config.launcher.get("threads")
        config.choice.update(named or {})
        if "tags" in config.logger and group is not None:
            config.logger.group = config.logger.group or user_setting("group") or group
            config.logger.tags = [*(config.logger.tags or user_tags()), *tags]


def folder_of_config(config: DictConfig) -> Path:
    """The folder of the run that a config says."""
    return layout.run_folder(config.outputs, config.name, config.seed)


def train_all(configs: Sequence[tuple[str, DictConfig]], console: Console) -> list[Job]:
    """Train what is not finished, as the first config's launcher says; every job, in the order given.

    What another process trains meanwhile is waited for, and then stands as that process has left it.
    """
    for outputs in dict.fromkeys(str(config.outputs) for _, config in configs):
        destination.check_output_folder(outputs, "outputs")
    launcher = instantiate(configs[0][1].launcher, "launcher")
    known: dict[str, Any] = {}
    jobs = [build_job(label, config, known) for label, config in configs]
    board = RunTable(jobs, console, getattr(launcher, "processes", 1))
    try:
        with board:
            launcher.run(jobs, board.refresh)
            with raise_on_ending_signal():
                for job, (_, config) in zip(jobs, configs, strict=True):
                    _await(job, config, board.refresh)
    finally:
        board.log_summary()
    return jobs


def _await(job: Job, config: DictConfig, watch: Callable[[], None]) -> None:
    """Where another process trains the run, wait until it is over; exit code 0 of the job where it finished it."""
    if job.state != TRAINED_ELSEWHERE:
        return
    while job.run.in_use or (log := claim_log(job.log)) is None:
        watch()
        time.sleep(0.25)
    release_log(log)
    job.exit_code = 0 if has_ended_with(job.run, config, "finished") else 1


def build_job(label: str, config: DictConfig, known: dict[str, Any] | None = None) -> Job:
    """The job of one config; its frozen config and its log lie beside the run's folder.

    The config is written now, so that a run which is never begun is known to have been meant, and once more when its
    process starts: another command may have written one of the same name in between.

    `known` is kept from job to job: what was found of the data of those that are finished.
    """
    run = Run(folder_of_config(config))
    file, log = (layout.hidden_file(run.folder, kind) for kind in ("yaml", "log"))
    job = Job(label, training_command(file, config), run.folder, log, config.images)
    job.write_config = partial(write_config, file, config)
    # whether an alarm may end the run: then one that an alarm has ended is not trained past it unseen
    stops = bool(((config.callback or {}).get("health") or {}).get("stop"))
    if not config.overwrite and has_ended_with(run, config, "finished"):
        job.state = DONE_BEFORE
        from saddlepoint.experiment.resume import changed_data_message  # and with it torch, for finished runs alone

        if changed := changed_data_message(run, config, known):
            job.state, job.reason = FAILED, changed
    elif not config.overwrite and stops and has_ended_with(run, config, "stopped"):
        job.state, job.reason = FAILED, str(run.summary.get("error"))
    elif not file.exists():
        job.write_config()
    return job


def has_ended_with(run: Run, config: DictConfig, status: str) -> bool:
    """Whether the folder holds this very run, of as many images, and it ended so."""
    if not run.config.exists() or run.summary.get("status") != status:
        return False
    old = config_file.load_config(run.config)
    resolve_paths(old)
    return old.images == config.images and identity(old) == identity(config)
