"""A search for settings, from its plan to its results: a table, plots, and the best trial as an experiment.

The guarantees are listed in docs/sweeping.md.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, metric_of
from saddlepoint.config.check import check
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.experiment.resume import NEUTRAL_DATA_KEYS
from saddlepoint.launcher.local import Local
from saddlepoint.run import destination
from saddlepoint.sweep import report, to_experiment
from saddlepoint.sweep.method import build_pruner
from saddlepoint.sweep.plan import SEARCH_SPLIT, Plan
from saddlepoint.sweep.space import format_params
from saddlepoint.sweep.study import Study
from saddlepoint.sweep.trial import build_starter, images_between_scores, trial_config
from saddlepoint.sweep.trial_table import TrialTable
from saddlepoint.sweep.worker import run_trials

FRESH_SEED = 1000  # first of the seeds proposed for retraining the best trial; searches usually use smaller seeds
# keys of data that define which reals are trained on, but not which reals a score uses
TRAINING_DATA_KEYS = {"batch", "seed", "labels", "label_seed", "labelled_batch", "number", "reserved"}
METRICS = (LOWER_IS_BETTER | HIGHER_IS_BETTER) - {"error"}  # a callback measures `error` during training


def run_sweep(
    plan: Plan, settings: DictConfig, config_dir: str | None, console: Console
) -> tuple[list[str], dict[str, Any]]:
    """Run trials until the planned number has finished, been pruned or failed, and write the report. Raises Mistake.

    Returns a summary in lines for people, and the same as a dict: every trial, and the `best` one, or None if no trial
    has finished.
    """
    folder = destination.check_output_folder(Path(settings.outputs) / plan.name, "outputs")
    base = check_space(plan, config_dir)
    launcher: Any = OmegaConf.to_container(base.launcher, resolve=True)
    if launcher.pop("_target_").rpartition(".")[2] != Local.__name__:
        raise Mistake(
            "set launcher=local: a sweep runs its trials on one machine. On a cluster, run the sweep in a job"
        )
    local = Local(**{**launcher, "processes": settings.workers})
    pruner = build_pruner(plan.pruner, images_between_scores(base), base.images)
    study = Study(folder, plan, pruner, settings.storage)
    table = TrialTable(study, console, settings.workers)
    for line in _start_messages(plan, folder):
        table.log(line)
    with table:
        starter = build_starter(plan, folder, local, config_dir)
        run_trials(study, starter, settings.workers, table.refresh, settings.failures)
    *lines, files = report.write_report(study, folder)
    table.log(files)
    best = _write_winner(plan, table, folder, config_dir, lines.append)
    document = json.loads((folder / "report" / "trials.json").read_text(encoding="utf-8"))
    return lines, {**document, "folder": folder, "best": best}


def check_space(plan: Plan, config_dir: str | None = None) -> DictConfig:
    """Compose and build a config for each test value of every dimension; return the config that all trials share.

    Raises Mistake before any training for an unknown key, for an invalid value, and if a dimension changes how trials
    are measured.
    """
    base = trial_config(plan, {}, config_dir)
    _check_is_measured(plan.metric.name, base)
    measurement = _measurement_settings(base)
    for dimension in plan.space:
        for value in dimension.test_values:
            try:
                config = trial_config(plan, {dimension.key: value}, config_dir)
                build_game(check(config))
            except Mistake as mistake:
                raise Mistake(f"space.{dimension.key}, {value}: {mistake}") from None
            if _measurement_settings(config) != measurement:
                raise Mistake(
                    f"space.{dimension.key}, {value}: this changes how trials are scored, so their scores could not be "
                    "compared"
                )
    return base


def _check_is_measured(name: str, config: DictConfig) -> None:
    """Raise Mistake if the searched metric is one of this package and no trial measures it on validation."""
    available = list(map(str, config.metric))[: None if config.evaluation.split == SEARCH_SPLIT else 1]
    metric = metric_of(name)
    if metric in METRICS and not any(metric == key or metric.startswith(f"{key}_") for key in available):
        raise Mistake(
            f"metric: {name}: no trial measures it on the {SEARCH_SPLIT} split. Only the first of metric=[...] is "
            f"measured there, or all with evaluation.split={SEARCH_SPLIT}: {', '.join(available) or 'none'}"
        )


def _measurement_settings(config: DictConfig) -> Any:
    """Return the values that define how a trial is measured, including its reals."""
    data: Any = OmegaConf.to_container(config.data, resolve=True)
    return [
        OmegaConf.to_container(config.evaluation, resolve=True),
        OmegaConf.to_container(config.metric, resolve=True),
        {key: value for key, value in data.items() if key not in TRAINING_DATA_KEYS | set(NEUTRAL_DATA_KEYS)},
    ]


def _start_messages(plan: Plan, folder: Path) -> list[str]:
    dimensions = f"{len(plan.space)} dimension{'s' if len(plan.space) > 1 else ''}"
    seeds = f", the mean over seeds {', '.join(map(str, plan.seeds))}" if len(plan.seeds) > 1 else ""
    pruner = f", pruner {plan.pruner.name}" if plan.pruner else ""
    is_limited = plan.n_points is not None and (plan.max_trials or 0) > plan.n_points
    return [
        f"{plan.name}: {dimensions}, {plan.sampler.name}{pruner}; {plan.metric.name} on the "
        f"validation split, {plan.metric.direction_text}{seeds}: {folder}",
        *([f"the grid has {plan.n_points} points, fewer than trials={plan.max_trials}"] if is_limited else []),
    ]


def _write_winner(
    plan: Plan, table: TrialTable, folder: Path, config_dir: str | None, log: Callable[[str], None]
) -> dict[str, Any] | None:
    """Write the best trial as an experiment; None if no trial finished.  `log` gets the summary lines."""
    if (best := table.best) is None:
        table.log("no trial finished, so there is no winner; the reasons are above and in the table")
        return None
    name, metric = to_experiment.experiment_name(plan.name), plan.metric.name
    params = format_params(best.params)
    log(f"best of {table.n_ended}: trial {best.number}, {metric} {best.value:.4g} on validation: {params}")
    header = [
        f"The best of {table.n_ended} trials of the study {plan.name}: trial {best.number}, seeds {list(plan.seeds)}.",
        f"{metric} on validation: {best.value:.6g}, which is optimistic, since it selected this trial.",
        *(f"  {key} = {value}" for key, value in best.params.items()),
    ]
    winner = {"number": best.number, "value": best.value, "params": best.params, "of": table.n_ended,
              "experiment": None}  # fmt: skip
    try:
        config = trial_config(plan, best.params, config_dir)
        path = to_experiment.write_experiment(config, folder / "winner", name, header, config_dir)
    except Mistake as mistake:
        log(str(mistake))
        return winner
    log(f"the winner, as an experiment: {path}")
    for line in _next_steps(plan, table.n_ended, path, folder, name, config_dir):
        log(line)
    return {**winner, "experiment": path}


def _next_steps(plan: Plan, trials: int, path: Path, folder: Path, name: str, config_dir: str | None) -> list[str]:
    """Return commands that measure the winner without selection bias, and that compare two searches."""
    seeds = ",".join(str(FRESH_SEED + i) for i in range(5))
    keys = ",".join(dimension.key for dimension in plan.space)
    location = folder / "winner" if config_dir is None else config_dir
    copy = [] if config_dir is None else [f"  mkdir -p {config_dir}/experiment && cp {path} {config_dir}/experiment/"]
    return [
        f"the best of {trials} scores is optimistic, because it selected the trial. To measure it on fresh seeds:",
        *copy,
        f"  saddlepoint train -m --config-dir {location} experiment={name} seed={seeds}",
        "to compare it with another search, at equal numbers of trials (docs/comparing.md):",
        f"  saddlepoint compare runs=[{folder},<another's>] tuning=true 'over=[{keys}]'",
    ]
