"""saddlepoint train -m: one run for each combination of values, each a process of its own from a frozen config.

    saddlepoint train -m objective=minimax,nonsaturating seed=0,1,2
    saddlepoint train -m experiment=<one that says many: ...>

Every config is composed, and every mistake told, before the first process starts.  The same command again starts what
is not finished.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from rich import box
from rich.console import Console
from rich.table import Table

from saddlepoint.config import allow_list, config_file
from saddlepoint.config.check import check, installed
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import identity
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.override import parsed
from saddlepoint.config.path import settle
from saddlepoint.config.subprocess_config import freeze, process
from saddlepoint.console.output import result
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.launcher.job import BUSY, DONE, FAILED, FINISHED, Job, claimed, release
from saddlepoint.launcher.pool import ended_as_interrupted
from saddlepoint.multirun.board import Board, first_score
from saddlepoint.run import destination
from saddlepoint.run.folder import Run
from saddlepoint.run.tracking.session import their_tags, theirs

ENOUGH = 10_000  # runs: more than that is a mistyped range
PLAIN = re.compile(r"[\w@/.+%-]+")  # a word that needs no quotes


@dataclass(frozen=True)
class Level:
    """One value of a factor, and the words that say it."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """What varies, and over which levels."""

    name: str  # "objective", "optimizer.generator.lr"; of an experiment's own also a name: "smoothing"
    levels: tuple[Level, ...]
    named: bool = False  # its levels are bundles of words, and are put on record under its name


def command(words: Sequence[str], config_dir: str | None = None, cfg: bool = False) -> int:
    """0 where every run is finished in the end, 1 where one is not."""
    console, output = Console(stderr=True), result()
    configs = expanded(words, config_dir)
    if cfg:
        print("\n".join(f"{label}  {_folder(config)}" for label, config in configs))
        return 0
    for _, config in configs:
        installed(config)
    jobs = launched(configs, console)
    output([_table(jobs, output.width)], {"runs": [_job(job) for job in jobs]})
    return 0 if all(job.state in (FINISHED, DONE) or (job.state == BUSY and job.exit == 0) for job in jobs) else 1


def expanded(words: Sequence[str], config_dir: str | Path | None = None) -> list[tuple[str, DictConfig]]:
    """Each combination as (what makes it differ, its config), seeds slowest.  Raises Mistake, before anything runs."""
    fixed, said = divided(words)
    written: Any = OmegaConf.to_container(compose([w for w in fixed if w.startswith("experiment=")], config_dir).many)
    fixed, factors = _settled(fixed, {factor.name: factor for factor in _written(written)}, said)
    base = compose(fixed, config_dir)
    if not factors:
        raise Mistake("-m needs something to vary: key=a,b, or an experiment that says many: ...")
    ordered = sorted(factors.values(), key=lambda factor: factor.name != "seed")
    if (number := _number(ordered)) > ENOUGH:
        raise Mistake(f"these are {number:,} runs, more than {ENOUGH:,}: {_shape(ordered)}")
    group = _group(fixed, ordered, base)
    found = []
    for levels in product(*(factor.levels for factor in ordered)):
        chosen = dict(zip(ordered, levels, strict=True))
        label = " ".join(f"{factor.name}={level.name}" for factor, level in chosen.items())
        found.append((label, _config(fixed, chosen, label, group, config_dir)))
    _refuse_doubles(found)
    return found


def divided(words: Sequence[str]) -> tuple[list[str], list[Factor]]:
    """The words that say one value, and the factors of those that say several.  Raises Mistake for two of one name."""
    fixed: list[str] = []
    factors: dict[str, Factor] = {}
    for word in map(str, words):
        try:
            override = parsed(word)
        except HydraException:
            fixed.append(word)  # compose says what is wrong with it
            continue
        if not override.is_sweep_override():
            fixed.append(word)
            continue
        key = word.partition("=")[0]
        if (name := key.lstrip("+~")) in factors:
            raise Mistake(f"{word}: {name} varies twice; give its values once, {key}=a,b,c")
        try:
            values = list(dict.fromkeys(str(value) for value in override.sweep_string_iterator()))
        except HydraException:  # of an interval or a glob nobody knows the values
            raise Mistake(f"{word}: give the values themselves, {key}=a,b,c or {key}=range(0,10)") from None
        factors[name] = Factor(name, tuple(Level(value, (f"{key}={value}",)) for value in values))
    return fixed, list(factors.values())


def _settled(
    fixed: Sequence[str], factors: dict[str, Factor], said: Sequence[Factor]
) -> tuple[list[str], dict[str, Factor]]:
    """What an experiment varies, after the command line has had the last word; and the words that are left to say.

    A key that it sets is not varied; of a factor with named levels it takes those that it names. Raises Mistake.
    """
    left, factors = [], dict(factors)
    for factor in said:
        one = factors.get(factor.name)
        names = [level.name for level in factor.levels]
        factors[factor.name] = _chosen(one, names) if one is not None and one.named else factor
    for word in fixed:
        name, equals, value = word.partition("=")
        one = factors.get(name)
        if one is None or not equals:
            left.append(word)
        elif one.named:
            factors[name] = _chosen(one, [value])
        else:
            del factors[name]
            left.append(word)
    return left, factors


def _chosen(factor: Factor, names: Sequence[str]) -> Factor:
    """The factor with the levels of these names.  Raises Mistake for one that it does not have."""
    levels = {level.name: level for level in factor.levels}
    for name in names:
        if name not in levels:
            raise Mistake(f"{factor.name}={name}: it can be {', '.join(levels)}.{did_you_mean(name, levels)}")
    return Factor(factor.name, tuple(levels[name] for name in names), named=True)


def _written(many: Mapping[Any, Any]) -> list[Factor]:
    """The factors of a config's `many`: key: [values], or name: {level: [words]}.  Raises Mistake."""
    found = []
    for name, levels in many.items():
        if isinstance(levels, Mapping) and all(isinstance(words, list) for words in levels.values()):
            said = ((level_name(level), allow_list.of_file(words, f"many.{name}")) for level, words in levels.items())
            bundles = tuple(Level(level, tuple(words)) for level, words in said)
            found.append(Factor(str(name), bundles, named=True))
        elif isinstance(levels, list) and levels:
            values = [typed(value) for value in levels]
            allow_list.of_file([name], "many")
            found.append(Factor(str(name), tuple(Level(value, (f"{name}={value}",)) for value in values)))
        else:
            raise Mistake(f"many.{name}: it is a list of values, or name: {{level: [words]}}")
    return found


def level_name(level: Any) -> str:
    """The name of a level; on and off, which yaml takes for true and false, as they were written."""
    return {True: "on", False: "off"}[level] if isinstance(level, bool) else str(level)


def typed(value: Any) -> str:
    """A value as one types it on the command line: read there, it is the same value, of the same type."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{typed(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str) and value[:1] not in tuple("[{") and not PLAIN.fullmatch(value):
        return "'" + value.replace("'", r"\'") + "'"
    return str(value)


def _config(
    fixed: Sequence[str],
    chosen: Mapping[Factor, Level],
    label: str,
    group: str,
    config_dir: str | Path | None,
) -> DictConfig:
    """The config of one combination, with what W&B is told of it."""
    words = [word for level in chosen.values() for word in level.words]
    try:
        config = compose([*fixed, *words], config_dir)
        check(config)
        _refuse_unheard(config, {*(word.partition("=")[0] for word in fixed), *(factor.name for factor in chosen)})
    except Mistake as mistake:
        raise Mistake(f"{label}: {mistake}") from None
    with open_dict(config):
        config.many = {}
        for factor, level in chosen.items():
            if factor.named:
                config.choice[factor.name] = level.name
        config.threads = config.threads or config.launcher.get("threads")
        if "tags" in config.logger:
            config.logger.group = config.logger.group or theirs("group") or group
            config.logger.tags = [
                *(config.logger.tags or their_tags()),
                *(f"{one.name}={level.name}" for one, level in chosen.items()),
            ]
    return config


def _refuse_unheard(config: DictConfig, said: Collection[str]) -> None:
    """Raise Mistake where one of several experiments varies what nobody else does."""
    if "experiment" in said and (unheard := [str(name) for name in config.many if str(name) not in said]):
        raise Mistake(
            f"this experiment varies {', '.join(unheard)} itself, which is not heard beside another one. Give one "
            "experiment at a time"
        )


def _number(factors: Sequence[Factor]) -> int:
    number = 1
    for factor in factors:
        number *= len(factor.levels)
    return number


def _shape(factors: Sequence[Factor]) -> str:
    """ "2 of objective x 3 of seed"."""
    return " x ".join(f"{len(factor.levels)} of {factor.name}" for factor in factors)


def _group(fixed: Sequence[str], factors: Sequence[Factor], base: DictConfig) -> str:
    """The name that runs of one command share in W&B: what it is of, and 8 hex of what was asked."""
    asked = repr((sorted(fixed), [(factor.name, factor.levels) for factor in factors]))
    return f"{base.choice.get('experiment') or base.choice.data}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def _folder(config: DictConfig) -> Path:
    return Path(config.outputs) / config.name / f"seed{config.seed}"


def _refuse_doubles(found: Sequence[tuple[str, DictConfig]]) -> None:
    """Raise Mistake where two combinations would be one run."""
    folders: dict[Path, str] = {}
    for label, config in found:
        if (other := folders.setdefault(_folder(config), label)) != label:
            why = "what differs does not change the training; vary something else"
            if config.get("name") and not re.search(r"-[0-9a-f]{8}$", config.name):
                why = "leave name=... out, and each gets its own"
            raise Mistake(f"{other} and {label} are one run, {_folder(config)}: {why}")


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
    run = Run(job.folder)
    while run.in_use or (log := claimed(job.log)) is None:
        watch()
        time.sleep(0.25)
    release(log)
    job.exit = 0 if over(run, config, "finished") else 1


def _table(jobs: Sequence[Job], width: int) -> Table:
    """How each run ended, and its first score."""
    keys = list(dict.fromkeys(key for job in jobs if (key := first_score(job)[0])))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, width=None)
    table.add_column("run", overflow="fold")
    for name in ("state", *keys):
        table.add_column(name, justify="right", no_wrap=len(name) < width // 2, overflow="fold")
    for job in jobs:
        own, value = first_score(job)
        table.add_row(job.label, job.state, *(value if key == own else "" for key in keys))
    return table


def _job(job: Job) -> dict[str, Any]:
    """A run as plain values: what it is, how it ended, its scores."""
    summary = Run(job.folder).summary
    return {
        "label": job.label,
        "run": job.folder,
        "state": job.state,
        "reason": job.reason or None,
        **{key: summary.get(key) for key in ("status", "images", "seconds", "final", "best")},
    }


def job_of(label: str, config: DictConfig, known: dict[str, Any] | None = None) -> Job:
    """The job of one config; its frozen config and its log lie beside the run's folder.

    The config is written now, so that a run which is never begun is known to have been meant, and once more when its
    process starts: another command may have written one of the same name in between.

    `known` is kept from job to job: what was found of the data of those that are finished.
    """
    run = Run(_folder(config))
    file, log = (run.folder.with_name(f".{run.folder.name}.{kind}") for kind in ("yaml", "log"))
    job = Job(label, process(file, config), run.folder, log, config.images)
    job.freeze, job.run = partial(freeze, file, config), run
    if not config.overwrite and over(run, config, "finished"):
        job.state = DONE
        from saddlepoint.experiment.same_run import finished_on_other_data  # and with it torch, for finished runs alone

        if changed := finished_on_other_data(run, config, known):
            job.state, job.reason = FAILED, changed
    elif not config.overwrite and _stops(config) and over(run, config, "stopped"):
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


def _stops(config: DictConfig) -> bool:
    """Whether an alarm may end the run: then one that an alarm has ended is not trained past it unseen."""
    return bool(((config.callback or {}).get("health") or {}).get("stop"))
