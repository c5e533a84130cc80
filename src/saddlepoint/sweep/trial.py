"""One trial of a search: its config, composed from the proposed values, and one process per seed."""

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
from saddlepoint.multirun.multirun import build_job_and_write_config, narrow_to_single_run
from saddlepoint.sweep.plan import REPORTED_SPLITS, SEARCH_SPLIT, Plan, SearchMetric
from saddlepoint.sweep.space import Choice, format_params
from saddlepoint.sweep.worker import AttemptResult, StartSeed

PRUNE_TIMEOUT = 20.0  # seconds that a pruned trial has to end


def trial_config(plan: Plan, params: Mapping[str, Any], config_dir: str | Path | None = None) -> DictConfig:
    """Return the config of a trial with these values; with {}, the config that all trials share.  Raises Mistake."""
    chosen = [dimension for dimension in plan.space if dimension.key in params]
    overrides = [override for dimension in chosen for override in dimension.overrides(params[dimension.key])]
    config = compose([*plan.overrides, *plan.machine_overrides, *overrides], config_dir)
    check(config)
    _check_splits(config)
    if config.evaluation.split != SEARCH_SPLIT:
        config.evaluation.selection.split = SEARCH_SPLIT
    bundles = [dimension.key for dimension in chosen if isinstance(dimension, Choice) and dimension.has_bundles]
    narrow_to_single_run(config, {key: params[key] for key in bundles}, plan.name, format_params(params).split())
    return config


def _check_splits(config: DictConfig) -> None:
    """Raise Mistake if the search would use reals that are kept for the report, or would have no score."""
    split, selection_split = config.evaluation.split, config.evaluation.selection.split
    if split in ("test", "all"):
        raise Mistake(
            f"evaluation.split={split}: a search measures nothing on test, which is kept for the winner; "
            f"evaluation.split={SEARCH_SPLIT} measures every metric on {SEARCH_SPLIT}"
        )
    if selection_split in REPORTED_SPLITS and split != SEARCH_SPLIT:
        raise Mistake(f"evaluation.selection.split={selection_split}: a search selects on {SEARCH_SPLIT}")
    if "evaluation" not in (config.callback or {}) and split != SEARCH_SPLIT:
        raise Mistake(f"no score is measured on {SEARCH_SPLIT}: add +callback=evaluation, which measures along the run")


def build_starter(plan: Plan, folder: Path, local: Local, config_dir: str | Path | None = None) -> StartSeed:
    """Return a function that starts one seed of a trial as a process, in <folder>/trial<number>/seed<seed>."""

    def start(number: int, params: Mapping[str, Any], seed: int, slot: int) -> TrialProcess:
        config = trial_config(plan, params, config_dir)
        with open_dict(config):
            config.outputs, config.name, config.seed = str(folder), f"trial{number}", seed
            if "tags" in config.logger:
                config.logger.tags = [f"trial{number}", *config.logger.tags]
        return TrialProcess(f"trial {number} seed {seed}", config, local, slot, plan.metric)

    return start


class TrialProcess:
    """One seed of a trial, trained in a process; if a process of a killed command still trains it, in that one."""

    def __init__(self, label: str, config: DictConfig, local: Local, slot: int, metric: SearchMetric) -> None:
        self.label, self.config, self.local, self.slot, self.metric = label, config, local, slot, metric
        self.images_between = images_between_scores(config)
        self._process: JobProcess | None = None
        self._stopped = False
        self._journal: tuple[int, Sequence[dict[str, Any]]] = (-1, ())  # its size when it was read, and its events
        self._start_process()

    def _start_process(self) -> None:
        """Start the process, unless the run is over or another process trains it."""
        self.job = build_job_and_write_config(self.label, self.config)
        self.run = self.job.run
        if self.job.state == WAITING and not self.run.in_use:
            self._process = self.local.start_job(self.job, self.slot)

    def curve(self) -> dict[int, float]:
        """Return images -> score, without the scores at the start and at the end of the run.

        The images are the multiple of the period at which the score was due.
        """
        curve = {}
        for event in self._journal_events():
            key = self.metric.find_score_key(event)
            if key is not None and self.images_between <= event["images"] < self.job.images:
                curve[event["images"] // self.images_between * self.images_between] = float(event[key])
        return curve

    def poll(self) -> AttemptResult | None:
        """Return the result, or None while it runs."""
        if self._process is not None:
            if not self._process.poll():
                return None
            self._process = None
        if self.job.state in (WAITING, TRAINED_ELSEWHERE):  # a process of another command trains the run
            if self._stopped:
                return AttemptResult(reason="stopped")
            if not self.run.in_use:
                self._start_process()  # unless that process has finished the run
            return None
        if self.job.state in (DONE_BEFORE, FINISHED):
            return self._final_result()
        return AttemptResult(reason=self.job.last_message)

    def _final_result(self) -> AttemptResult:
        events = [event for event in self._journal_events() if event["images"] >= self.job.images]
        scores = [float(event[key]) for event in events if (key := self.metric.find_score_key(event)) is not None]
        if scores:
            return AttemptResult(scores[-1])
        splits = (*REPORTED_SPLITS, SEARCH_SPLIT)
        others = dict.fromkeys(key for event in events for key in event if key.rpartition("_")[2] in splits)
        return AttemptResult(other_scores=list(others))

    def _journal_events(self) -> Sequence[dict[str, Any]]:
        """Return the journal's events; the file is read again only if its size has changed."""
        size = self.run.metrics.stat().st_size if self.run.metrics.exists() else 0
        if size != self._journal[0]:
            self._journal = size, [row for row in self.run.rows() if isinstance(row.get("images"), int)]
        return self._journal[1]

    def request_stop(self) -> None:
        """Request its end; after a timeout the process is killed."""
        self._stopped = True
        if self._process is not None:
            self._process.request_stop(PRUNE_TIMEOUT)


def images_between_scores(config: DictConfig) -> int:
    """Return the images between two scores of a run; all its images if it is only scored at the end."""
    node = (config.callback or {}).get("evaluation")
    return int(node.images_between) if node is not None else int(config.images)
