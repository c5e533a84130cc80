"""One trial of a search: its config, composed from the values that were proposed, and a process per seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.launcher.job import BUSY, DONE, FINISHED, WAITING
from saddlepoint.launcher.local import Local
from saddlepoint.launcher.pool import Process
from saddlepoint.multirun.multirun import job_of, set_apart
from saddlepoint.sweep.plan import REPORTED, SPLIT, Objective, Plan
from saddlepoint.sweep.space import Choice, told
from saddlepoint.sweep.worker import Ended, Start

PATIENCE = 20.0  # seconds that a trial that is given up has to end by itself


def config_of(plan: Plan, params: Mapping[str, Any], config_dir: str | Path | None = None) -> DictConfig:
    """The config of a trial with these values (or of none, {}: what all trials share).  Raises Mistake."""
    words = [word for one in plan.space if one.key in params for word in one.words(params[one.key])]
    config = compose([*plan.words, *plan.elsewhere, *words], config_dir)
    check(config)
    _refuse_reported(config)
    if config.evaluation.split != SPLIT:
        config.evaluation.selection.split = SPLIT
    bundles = [one.key for one in plan.space if isinstance(one, Choice) and one.bundle and one.key in params]
    set_apart(config, {key: params[key] for key in bundles}, plan.name, told(params).split())
    return config


def _refuse_reported(config: DictConfig) -> None:
    """Raise Mistake where a search would look at reals that are kept for the report, or at none."""
    if config.evaluation.split in ("test", "all"):
        raise Mistake(
            f"evaluation.split={config.evaluation.split}: a search measures nothing on test, which is kept for the "
            f"winner; evaluation.split={SPLIT} measures every metric on {SPLIT}"
        )
    if config.evaluation.selection.split in REPORTED and config.evaluation.split != SPLIT:
        raise Mistake(f"evaluation.selection.split={config.evaluation.selection.split}: a search chooses on {SPLIT}")
    if "evaluation" not in (config.callback or {}) and config.evaluation.split != SPLIT:
        raise Mistake(f"nothing measures a score on {SPLIT}: +callback=evaluation, which does so along the run")


def starter(plan: Plan, folder: Path, local: Local, config_dir: str | Path | None = None) -> Start:
    """What begins one seed of a trial, a process in <folder>/trial<number>/seed<seed>."""

    def start(number: int, params: Mapping[str, Any], seed: int, place: int) -> Training:
        config = config_of(plan, params, config_dir)
        with open_dict(config):
            config.outputs, config.name, config.seed = str(folder), f"trial{number}", seed
            if "tags" in config.logger:
                config.logger.tags = [f"trial{number}", *config.logger.tags]
        return Training(f"trial {number} seed {seed}", config, local, place, plan.objective)

    return start


class Training:
    """One seed of a trial, trained in a process; where a process of a killed command still trains it, in that one."""

    def __init__(self, label: str, config: DictConfig, local: Local, place: int, objective: Objective) -> None:
        self.label, self.config, self.local, self.place, self.objective = label, config, local, place, objective
        self.between = between(config)
        self._process: Process | None = None
        self._stopped = False
        self._seen: tuple[int, Sequence[dict[str, Any]]] = (-1, ())
        self._begin()

    def _begin(self) -> None:
        """Start the process, unless the run is over, or another process is at it."""
        self.job = job_of(self.label, self.config)
        self.run = self.job.run
        if self.job.state == WAITING and not self.run.in_use:
            self._process = self.local.started(self.job, self.place)

    def curve(self) -> dict[int, float]:
        """The score by images, each at the multiple of the period that it was due at; none of the start and the end."""
        found = {}
        for row in self._rows():
            key = self.objective.key(row)
            if key is not None and self.between <= row["images"] < self.job.images:
                found[row["images"] // self.between * self.between] = float(row[key])
        return found

    def ended(self) -> Ended | None:
        """How it ended, None while it is under way."""
        if self._process is not None:
            if not self._process.over():
                return None
            self._process = None
        if self.job.state in (WAITING, BUSY):  # a process that this command did not start trains the run
            if self._stopped:
                return Ended(reason="stopped")
            if not self.run.in_use:
                self._begin()  # unless the run was left finished
            return None
        return self._result() if self.job.state in (DONE, FINISHED) else Ended(reason=self.job.last_words)

    def _result(self) -> Ended:
        rows = [row for row in self._rows() if row["images"] >= self.job.images]
        scored = [float(row[key]) for row in rows if (key := self.objective.key(row)) is not None]
        if scored:
            return Ended(scored[-1])
        there = dict.fromkeys(key for row in rows for key in row if key.rpartition("_")[2] in (*REPORTED, SPLIT))
        return Ended(lacks=list(there))

    def _rows(self) -> Sequence[dict[str, Any]]:
        """The journal's events, read again where it has grown."""
        size = self.run.metrics.stat().st_size if self.run.metrics.exists() else 0
        if size != self._seen[0]:
            self._seen = size, [row for row in self.run.rows() if isinstance(row.get("images"), int)]
        return self._seen[1]

    def stop(self) -> None:
        """Ask it to end; a process that does not is killed."""
        self._stopped = True
        if self._process is not None:
            self._process.stop(PATIENCE)


def between(config: DictConfig) -> int:
    """Images between two scores of a run; all of them where it is scored at its end alone."""
    node = (config.callback or {}).get("evaluation")
    return int(node.images_between) if node is not None else int(config.images)
