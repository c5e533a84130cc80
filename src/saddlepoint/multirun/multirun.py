"""Several runs with one command: one process per combination of values, each with a fixed config (docs/many.md)."""

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
from saddlepoint.config.identity import compute_identity
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

MAX_RUNS = 10_000  # more are probably a mistyped range
POLL_SECONDS = 0.25


def build_configs(overrides: Sequence[str], config_dir: str | Path | None = None) -> list[tuple[str, DictConfig]]:
    """Return (label, config) for each combination of values, with seeds in the outer loop.

    Raises Mistake before anything runs if a config is invalid, or if two configs are the same run.
    """
    fixed, cli_factors = split_factors(overrides)
    experiment = [override for override in fixed if override.startswith("experiment=")]
    many: Any = OmegaConf.to_container(compose(experiment, config_dir).many)
    fixed, by_name = merge_factors(fixed, {factor.name: factor for factor in parse_many(many)}, cli_factors)
    base = compose(fixed, config_dir)
    if not by_name:
        raise Mistake("-m needs something to vary: key=a,b, or an experiment with many: ...")
    factors = sorted(by_name.values(), key=lambda factor: factor.name != "seed")
    if (number := prod(len(factor.levels) for factor in factors)) > MAX_RUNS:
        raise Mistake(f"these are {number:,} runs, more than {MAX_RUNS:,}: {describe_factors(factors)}")
    command = repr((sorted(fixed), [(factor.name, factor.levels) for factor in factors]))
    digest = hashlib.sha256(command.encode()).hexdigest()[:8]
    group = f"{base.choice.get('experiment') or base.choice.data}-{digest}"  # of the runs in W&B
    configs = []
    for levels in product(*(factor.levels for factor in factors)):
        chosen = dict(zip(factors, levels, strict=True))
        label = " ".join(f"{factor.name}={level.name}" for factor, level in chosen.items())
        configs.append((label, _build_config(fixed, chosen, label, group, config_dir)))
    folders: dict[Path, str] = {}
    for label, config in configs:
        if (other := folders.setdefault(folder_of_config(config), label)) != label:
            reason = "what differs does not change the training; vary something else"
            if config.get("name") and not re.search(r"-[0-9a-f]{8}$", config.name):
                reason = "leave out name=..., and each gets its own name"
            raise Mistake(f"{other} and {label} are one run, {folder_of_config(config)}: {reason}")
    return configs


def _build_config(
    fixed: Sequence[str],
    chosen: Mapping[Factor, Level],
    label: str,
    group: str,
    config_dir: str | Path | None,
) -> DictConfig:
    level_overrides = [override for level in chosen.values() for override in level.overrides]
    try:
        config = compose([*fixed, *level_overrides], config_dir)
        check(config)
        keys = {*(override.partition("=")[0] for override in fixed), *(factor.name for factor in chosen)}
        if "experiment" in keys and (ignored := [str(name) for name in config.many if str(name) not in keys]):
            raise Mistake(
                f"this experiment varies {', '.join(ignored)} itself, which is ignored with several experiments. "
                "Give one experiment at a time"
            )
    except Mistake as mistake:
        raise Mistake(f"{label}: {mistake}") from None
    bundles = {factor.name: level.name for factor, level in chosen.items() if factor.has_bundles}
    narrow_to_single_run(config, bundles, group, [f"{factor.name}={level.name}" for factor, level in chosen.items()])
    return config


def narrow_to_single_run(
    config: DictConfig, bundles: Mapping[str, Any] | None = None, group: str | None = None, tags: Sequence[str] = ()
) -> None:
    """Change a config in place into that of one run, which a process of its own trains.

    bundles        factor -> level, for levels that are named lists of overrides; they are recorded under `choice`
    group, tags    for W&B; a group of the config or of the user's W&B settings takes precedence, tags are added
    """
    with open_dict(config):
        config.many = {}
        config.threads = config.threads or config.launcher.get("threads")
        config.choice.update(bundles or {})
        if "tags" in config.logger and group is not None:
            config.logger.group = config.logger.group or user_setting("group") or group
            config.logger.tags = [*(config.logger.tags or user_tags()), *tags]


def folder_of_config(config: DictConfig) -> Path:
    """Return the folder of a config's run."""
    return layout.run_folder(config.outputs, config.name, config.seed)


def train_all(configs: Sequence[tuple[str, DictConfig]], console: Console) -> list[Job]:
    """Train the runs that are not finished, with the first config's launcher; return every job, in order.

    Runs that another process trains are waited for; their jobs then have the state in which that process left them.
    """
    for outputs in dict.fromkeys(str(config.outputs) for _, config in configs):
        destination.check_output_folder(outputs, "outputs")
    launcher = instantiate(configs[0][1].launcher, "launcher")
    data_descriptions: dict[str, Any] = {}
    jobs = [build_job_and_write_config(label, config, data_descriptions) for label, config in configs]
    table = RunTable(jobs, console, getattr(launcher, "processes", 1))
    try:
        with table:
            launcher.run(jobs, table.refresh)
            with raise_on_ending_signal():
                for job, (_, config) in zip(jobs, configs, strict=True):
                    _wait_for_other_process(job, config, table.refresh)
    finally:
        table.log_summary()
    return jobs


def _wait_for_other_process(job: Job, config: DictConfig, watch: Callable[[], None]) -> None:
    """If another process trains the run, wait until it ends; the job's exit code is 0 if it has finished the run."""
    if job.state != TRAINED_ELSEWHERE:
        return
    while job.run.in_use or (log := claim_log(job.log_file)) is None:
        watch()
        time.sleep(POLL_SECONDS)
    release_log(log)
    job.exit_code = 0 if has_ended_with(job.run, config, "finished") else 1


def build_job_and_write_config(label: str, config: DictConfig, data_descriptions: dict[str, Any] | None = None) -> Job:
    """Return the job of a config.  Its config file and its log are next to the run's folder.

    The config is written now, so that runs that never start are known to have been planned. It is written again when
    the process starts, because another command may have written a config of the same name since.

    data_descriptions  a cache over jobs: the descriptions of the data of finished runs
    """
    run = Run(folder_of_config(config))
    file, log = (layout.hidden_sibling(run.folder, kind) for kind in ("yaml", "log"))
    job = Job(label, training_command(file, config), run.folder, log, config.images)
    job.write_config = partial(write_config, file, config)
    # if an alarm can stop the run, a run that an alarm has stopped is not continued silently
    stops = bool(((config.callback or {}).get("health") or {}).get("stop"))
    if not config.overwrite and has_ended_with(run, config, "finished"):
        job.state = DONE_BEFORE
        from saddlepoint.experiment.resume import changed_data_message  # imports torch: only for finished runs

        if message := changed_data_message(run, config, data_descriptions):
            job.state, job.reason = FAILED, message
    elif not config.overwrite and stops and has_ended_with(run, config, "stopped"):
        job.state, job.reason = FAILED, str(run.summary.get("error"))
    elif not file.exists():
        job.write_config()
    return job


def has_ended_with(run: Run, config: DictConfig, status: str) -> bool:
    """Whether the run folder holds this training, with the same number of images, and has this final status."""
    if not run.config.exists() or run.summary.get("status") != status:
        return False
    recorded = config_file.load_config(run.config)
    resolve_paths(recorded)
    return recorded.images == config.images and compute_identity(recorded) == compute_identity(config)
