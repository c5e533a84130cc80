"""One trial of a search: its config, composed from the values that were proposed, and a process per seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.launcher.job import DONE_BEFORE, FINISHED, TRAINED_ELSEWHERE, WAITING
from saddlepoint.launcher.local import Local
from saddlepoint.launcher.pool import JobProcess
from saddlepoint.multirun.multirun import build_job, make_single_run
from saddlepoint.sweep.plan import REPORTED_SPLITS, SEARCH_SPLIT, Plan, SearchMetric
from saddlepoint.sweep.space import Choice, format_params
from saddlepoint.sweep.worker import AttemptResult, Start

PATIENCE = 20.0  # seconds that a trial that is given up has to end by itself


def trial_config(plan: Plan, params: Mapping[str, Any], config_dir: str | Path | None = None) -> DictConfig:
    """The config of a trial with these values (or of none, {}: what all trials share).  Raises Mistake."""
    words = [word for one in plan.space if one.key in params for word in one.overrides(params[one.key])]
    config = compose([*plan.overrides, *plan.machine_overrides, *words], config_dir)
    check(config)
    _refuse_reported(config)
    if config.evaluation.split != SEARCH_SPLIT:
        config.evaluation.selection.split = SEARCH_SPLIT
    bundles = [one.key for one in plan.space if isinstance(one, Choice) and one.has_bundles and one.key in params]
    make_single_run(config, {key: params[key] for key in bundles}, plan.name, format_params(params).split())
    return config


def _refuse_reported(config: DictConfig) -> None:
    """Raise Mistake where a search would look at reals that are kept for the report, or at none."""
    if config.evaluation.split in ("test", "all"):
        raise Mistake(
            f"evaluation.split={config.evaluation.split}: a search measures nothing on test, which is kept for the "
            f"winner; evaluation.split={SEARCH_SPLIT} measures every metric on {SEARCH_SPLIT}"
        )
    if config.evaluation.selection.split in REPORTED_SPLITS and config.evaluation.split != SEARCH_SPLIT:
        raise Mistake(
            f"evaluation.selection.split={config.evaluation.selection.split}: a search chooses on {SEARCH_SPLIT}"
        )
    if "evaluation" not in (config.callback or {}) and config.evaluation.split != SEARCH_SPLIT:
        raise Mistake(f"nothing measures a score on {SEARCH_SPLIT}: +callback=evaluation, which does so along the run")


def build_starter(plan: Plan, folder: Path, local: Local, config_dir: str | Path | None = None) -> Start:
    """What begins one seed of a trial, a process in <folder>/trial<number>/seed<seed>."""

    def start(number: int, params: Mapping[str, Any], seed: int, place: int) -> TrialProcess:
        config = trial_config(plan, params, config_dir)
        with open_dict(config):
            config.outputs, config.name, config.seed = str(folder), f"trial{number}", seed
            if "tags" in config.logger:
                config.logger.tags = [f"trial{number}", *config.logger.tags]
        return TrialProcess(f"trial {number} seed {seed}", config, local, place, plan.metric)

    return start


class TrialProcess:
    """One seed of a trial, trained in a process; where a process of a killed command still trains it, in that one."""

    def __init__(self, label: str, config: DictConfig, local: Local, place: int, objective: SearchMetric) -> None:
        self.label, self.config, self.local, self.place, self.objective = label, config, local, place, objective
        self.images_between = images_between_scores(config)
        self._process: JobProcess | None = None
        self._stopped = False
        self._seen: tuple[int, Sequence[dict[str, Any]]] = (-1, ())
        self._begin()

    def _begin(self) -> None:
        """Start the process, unless the run is over, or another process is at it."""
        self.job = build_job(self.label, self.config)
        self.run = self.job.run
        if self.job.state == WAITING and not self.run.in_use:
            self._process = self.local.start_job(self.job, self.place)

    def curve(self) -> dict[int, float]:
        """The score by images, each at the multiple of the period that it was due at; none of the start and the end."""
        found = {}
        for row in self._rows():
            key = self.objective.find_key(row)
            if key is not None and self.images_between <= row["images"] < self.job.images:
                found[row["images"] // self.images_between * self.images_between] = float(row[key])
        return found

    def poll(self) -> AttemptResult | None:
        """How it ended, None while it is under way."""
        if self._process is not None:
            if not self._process.poll():
                return None
            self._process = None
        if self.job.state in (WAITING, TRAINED_ELSEWHERE):  # a process that this command did not start trains the run
            if self._stopped:
                return AttemptResult(reason="stopped")
            if not self.run.in_use:
                self._begin()  # unless the run was left finished
            return None
        return (
            self._result() if self.job.state in (DONE_BEFORE, FINISHED) else AttemptResult(reason=self.job.last_message)
        )

    def _result(self) -> AttemptResult:
        rows = [row for row in self._rows() if row["images"] >= self.job.images]
        scored = [float(row[key]) for row in rows if (key := self.objective.find_key(row)) is not None]
        if scored:
            return AttemptResult(scored[-1])
        there = dict.fromkeys(
            key for row in rows for key in row if key.rpartition("_")[2] in (*REPORTED_SPLITS, SEARCH_SPLIT)
        )
        return AttemptResult(other_scores=list(there))

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


def images_between_scores(config: DictConfig) -> int:
    """Images between two scores of a run; all of them where it is scored at its end alone."""
    node = (config.callback or {}).get("evaluation")
    return int(node.images_between) if node is not None else int(config.images)
