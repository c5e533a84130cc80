"""A search for settings, from its plan to what it leaves behind: a table, drawings, and the winner as an experiment.

What is promised: docs/sweeping.md.
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

FRESH = 1000  # the first of the seeds that are proposed for the winner: nobody has searched with them
# keys of data that decide which reals are trained on, and not which a score is measured against
TRAINED = {"batch", "seed", "labels", "label_seed", "labelled_batch", "number", "reserved"}
METRICS = (LOWER_IS_BETTER | HIGHER_IS_BETTER) - {"error"}  # which a callback measures, along the run


def run_sweep(
    plan: Plan, settings: DictConfig, config_dir: str | None, console: Console
) -> tuple[list[str], dict[str, Any]]:
    """Search until as many trials as were asked for have ended, and write what that has come to.  Raises Mistake.

    The same in lines for people, and for programs: every trial, and the `best` one, None where none finished.
    """
    folder = destination.check_output_folder(Path(settings.outputs) / plan.name, "outputs")
    base = check_space(plan, config_dir)
    launcher: Any = OmegaConf.to_container(base.launcher, resolve=True)
    if launcher.pop("_target_").rpartition(".")[2] != Local.__name__:
        raise Mistake("a sweep starts its trials on this machine: launcher=local. On a cluster, start it in a job")
    local = Local(**{**launcher, "processes": settings.workers})
    study = Study(folder, plan, build_pruner(plan.pruner, images_between_scores(base), base.images), settings.storage)
    board = TrialTable(study, console, settings.workers)
    for line in _told(plan, folder):
        board.log(line)
    with board:
        run_trials(
            study, build_starter(plan, folder, local, config_dir), settings.workers, board.refresh, settings.failures
        )
    *lines, where = report.write_report(study, folder)
    board.log(where)
    best = _conclude(plan, board, folder, config_dir, lines.append)
    document = json.loads((folder / "report" / "trials.json").read_text(encoding="utf-8"))
    return lines, {**document, "folder": folder, "best": best}


def check_space(plan: Plan, config_dir: str | None = None) -> DictConfig:
    """What all trials share, after every end of every dimension was composed, checked and built once.

    Raises Mistake, before anything is trained, for a key that there is none of, for a value that a piece refuses, and
    where a dimension would change how trials are measured.
    """
    base = trial_config(plan, {}, config_dir)
    _refuse_unmeasured(plan.metric.name, base)
    measured = _measured(base)
    for one in plan.space:
        for value in one.test_values:
            try:
                config = trial_config(plan, {one.key: value}, config_dir)
                build_game(check(config))
            except Mistake as mistake:
                raise Mistake(f"space.{one.key}, {value}: {mistake}") from None
            if _measured(config) != measured:
                raise Mistake(
                    f"space.{one.key}, {value}: it changes how a trial is measured, and no two could be compared"
                )
    return base


def _refuse_unmeasured(name: str, config: DictConfig) -> None:
    """Raise Mistake where a metric of ours is asked for that no trial will measure on validation."""
    there = list(map(str, config.metric))[: None if config.evaluation.split == SEARCH_SPLIT else 1]
    asked = metric_of(name)
    if asked in METRICS and not any(asked == key or asked.startswith(f"{key}_") for key in there):
        raise Mistake(
            f"metric: {name}: no trial measures it on {SEARCH_SPLIT}, where there is {', '.join(there) or 'nothing'}: the "
            f"first of metric=[...], or every one with evaluation.split={SEARCH_SPLIT}"
        )


def _measured(config: DictConfig) -> Any:
    """What decides how a trial is measured, its reals among it."""
    data: Any = OmegaConf.to_container(config.data, resolve=True)
    return [
        OmegaConf.to_container(config.evaluation, resolve=True),
        OmegaConf.to_container(config.metric, resolve=True),
        {key: value for key, value in data.items() if key not in TRAINED | set(NEUTRAL_DATA_KEYS)},
    ]


def _told(plan: Plan, folder: Path) -> list[str]:
    dimensions = f"{len(plan.space)} dimension{'s' if len(plan.space) > 1 else ''}"
    seeds = f", the mean over seeds {', '.join(map(str, plan.seeds))}" if len(plan.seeds) > 1 else ""
    pruned = f", pruner {plan.pruner.name}" if plan.pruner else ""
    short = plan.n_points is not None and (plan.max_trials or 0) > plan.n_points
    return [
        f"{plan.name}: {dimensions}, {plan.sampler.name}{pruned}; {plan.metric.name} on the "
        f"validation split, {plan.metric.direction_text}{seeds}: {folder}",
        *([f"the grid has {plan.n_points} points, less than trials={plan.max_trials}"] if short else []),
    ]


def _conclude(
    plan: Plan, board: TrialTable, folder: Path, config_dir: str | None, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """The best trial, written down as an experiment; None where none finished.  `say` gets what its score is worth."""
    if (best := board.best) is None:
        board.log("no trial finished, so nothing has won; the reasons stand above and in the table")
        return None
    name, score = to_experiment.experiment_name(plan.name), plan.metric.name
    say(
        f"best of {board.n_ended}: trial {best.number}, {score} {best.value:.4g} on validation: {format_params(best.params)}"
    )
    header = [
        f"The best of {board.n_ended} trials of the study {plan.name}: trial {best.number}, seeds {list(plan.seeds)}.",
        f"{score} on validation: {best.value:.6g}, which is flattered, since it was chosen by this number.",
        *(f"  {key} = {value}" for key, value in best.params.items()),
    ]
    found = {"number": best.number, "value": best.value, "params": best.params, "of": board.n_ended, "experiment": None}
    try:
        config = trial_config(plan, best.params, config_dir)
        path = to_experiment.write_experiment(config, folder / "winner", name, header, config_dir)
    except Mistake as mistake:
        say(str(mistake))
        return found
    say(f"the winner, as an experiment: {path}")
    for line in _worth(plan, board.n_ended, path, folder, name, config_dir):
        say(line)
    return {**found, "experiment": path}


def _worth(plan: Plan, trials: int, path: Path, folder: Path, name: str, config_dir: str | None) -> list[str]:
    """What the winner's score is worth, and what to type to find out."""
    fresh = ",".join(str(FRESH + i) for i in range(5))
    keys = ",".join(one.key for one in plan.space)
    place = folder / "winner" if config_dir is None else config_dir
    copied = [] if config_dir is None else [f"  mkdir -p {config_dir}/experiment && cp {path} {config_dir}/experiment/"]
    return [
        f"its score is the best of {trials} by the number that chose it: flattered. Its worth, on fresh seeds:",
        *copied,
        f"  saddlepoint train -m --config-dir {place} experiment={name} seed={fresh}",
        "beside another search, at equal numbers of trials (docs/comparing.md):",
        f"  saddlepoint compare runs=[{folder},<another's>] tuning=true 'over=[{keys}]'",
    ]
