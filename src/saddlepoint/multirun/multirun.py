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
from saddlepoint.config.config_file import freeze, process
from saddlepoint.config.identity import identity
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.path import settle
from saddlepoint.error import Mistake
from saddlepoint.launcher.job import BUSY, DONE, FAILED, Job, claimed, release
from saddlepoint.launcher.pool import ended_as_interrupted
from saddlepoint.multirun.board import Board
from saddlepoint.multirun.factor import Factor, Level, divided, settled, shape, written
from saddlepoint.run import destination, layout
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.session import their_tags, theirs

ENOUGH = 10_000  # runs: more than that is a mistyped range


def expanded(words: Sequence[str], config_dir: str | Path | None = None) -> list[tuple[str, DictConfig]]:
    """Each combination as (what makes it differ, its config), seeds slowest.  Raises Mistake, before anything runs."""
    fixed, said = divided(words)
    many: Any = OmegaConf.to_container(compose([w for w in fixed if w.startswith("experiment=")], config_dir).many)
    fixed, factors = settled(fixed, {factor.name: factor for factor in written(many)}, said)
    base = compose(fixed, config_dir)
    if not factors:
        raise Mistake("-m needs something to vary: key=a,b, or an experiment that says many: ...")
    ordered = sorted(factors.values(), key=lambda factor: factor.name != "seed")
    if (number := prod(len(factor.levels) for factor in ordered)) > ENOUGH:
        raise Mistake(f"these are {number:,} runs, more than {ENOUGH:,}: {shape(ordered)}")
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
        if (other := folders.setdefault(folder_of(config), label)) != label:
            why = "what differs does not change the training; vary something else"
            if config.get("name") and not re.search(r"-[0-9a-f]{8}$", config.name):
                why = "leave name=... out, and each gets its own"
            raise Mistake(f"{other} and {label} are one run, {folder_of(config)}: {why}")
    return found


def _config(
    fixed: Sequence[str],
    chosen: Mapping[Factor, Level],
    label: str,
    group: str,
    config_dir: str | Path | None,
) -> DictConfig:
    words = [word for level in chosen.values() for word in level.words]
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
    named = {factor.name: level.name for factor, level in chosen.items() if factor.named}
    set_apart(config, named, group, [f"{factor.name}={level.name}" for factor, level in chosen.items()])
    return config


def set_apart(
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
            config.logger.group = config.logger.group or theirs("group") or group
            config.logger.tags = [*(config.logger.tags or their_tags()), *tags]


def folder_of(config: DictConfig) -> Path:
    """The folder of the run that a config says."""
    return layout.folder_of(config.outputs, config.name, config.seed)


def launched(configs: Sequence[tuple[str, DictConfig]], console: Console) -> list[Job]:
    """Train what is not finished, as the first config's launcher says; every job, in the order given.

    What another process trains meanwhile is waited for, and then stands as that process has left it.
    """
    for outputs in dict.fromkeys(str(config.outputs) for _, config in configs):
        destination.folder(outputs, "outputs")
    launcher = instantiate(configs[0][1].launcher, "launcher")
    known: dict[str, Any] = {}
    jobs = [job_of(label, config, known) for label, config in configs]
    board = Board(jobs, console, getattr(launcher, "processes", 1))
    try:
        with board:
            launcher.run(jobs, board.refresh)
            with ended_as_interrupted():
                for job, (_, config) in zip(jobs, configs, strict=True):
                    _await(job, config, board.refresh)
    finally:
        board.conclude()
    return jobs


def _await(job: Job, config: DictConfig, watch: Callable[[], None]) -> None:
    """Where another process trains the run, wait until it is over; exit code 0 of the job where it finished it."""
    if job.state != BUSY:
        return
    while job.run.in_use or (log := claimed(job.log)) is None:
        watch()
        time.sleep(0.25)
    release(log)
    job.exit = 0 if over(job.run, config, "finished") else 1


def job_of(label: str, config: DictConfig, known: dict[str, Any] | None = None) -> Job:
    """The job of one config; its frozen config and its log lie beside the run's folder.

    The config is written now, so that a run which is never begun is known to have been meant, and once more when its
    process starts: another command may have written one of the same name in between.

    `known` is kept from job to job: what was found of the data of those that are finished.
    """
    run = Run(folder_of(config))
    file, log = (layout.beside(run.folder, kind) for kind in ("yaml", "log"))
    job = Job(label, process(file, config), run.folder, log, config.images)
    job.freeze = partial(freeze, file, config)
    # whether an alarm may end the run: then one that an alarm has ended is not trained past it unseen
    stops = bool(((config.callback or {}).get("health") or {}).get("stop"))
    if not config.overwrite and over(run, config, "finished"):
        job.state = DONE
        from saddlepoint.experiment.start import finished_on_other_data  # and with it torch, for finished runs alone

        if changed := finished_on_other_data(run, config, known):
            job.state, job.reason = FAILED, changed
    elif not config.overwrite and stops and over(run, config, "stopped"):
        job.state, job.reason = FAILED, str(run.summary.get("error"))
    elif not file.exists():
        job.freeze()
    return job


def over(run: Run, config: DictConfig, status: str) -> bool:
    """Whether the folder holds this very run, of as many images, and it ended so."""
    if not run.config.exists() or run.summary.get("status") != status:
        return False
    old = config_file.read(run.config)
    settle(old)
    return old.images == config.images and identity(old) == identity(config)
