"""The report of a search in <outputs>/<name>/report/: every trial as a table, and the plots."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from saddlepoint.comparison.report.markup import to_csv, to_markdown
from saddlepoint.comparison.report.sheet import EMPTY, Cell, Sheet, number_cell
from saddlepoint.run.folder import write_file
from saddlepoint.sweep.plan import Plan
from saddlepoint.sweep.study import FINISHED, Study, TrialRecord, rank_finished


def write_report(study: Study, folder: Path) -> list[str]:
    """Write the report of a study to <folder>/report; return a summary for people, in lines."""
    from saddlepoint.sweep import plot

    plan, trials = study.plan, study.trial_records()
    shares, report_folder = plot.importances(study), folder / "report"
    table = trial_sheet(plan, trials)
    files: dict[str, str | bytes] = {
        "trials.md": to_markdown(table),
        "trials.csv": to_csv(table),
        "trials.json": json.dumps(report_dict(plan, trials, shares), indent=2) + "\n",
    }
    lines = [format_counts(trials)]
    if any(trial.state == FINISHED for trial in trials):
        files["history.png"] = plot.history_plot(study)
        files["parallel.png"] = plot.parallel_plot(study)
    if shares:
        files["importance.png"] = plot.importance_plot(study)
        lines.append(f"importance (fANOVA): {', '.join(f'{key} {share:.2f}' for key, share in shares.items())}")
    report_folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_file(report_folder / name, content)
    return [*lines, f"{', '.join(files)}: {report_folder}"]


def format_counts(trials: Sequence[TrialRecord]) -> str:
    """Return the number of trials by state as text: "30 trials: 22 finished, 7 pruned, 1 failed"."""
    states = [trial.state for trial in trials]
    return f"{len(states)} trials: {', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))}"


def trial_sheet(plan: Plan, trials: Sequence[TrialRecord]) -> Sheet:
    """Return a table with one row per trial, in order: its state, its score, its values."""
    best = next((trial.number for trial in rank_finished(plan, trials)), None)
    seeds = [f"seed {seed}" for seed in plan.seeds] if len(plan.seeds) > 1 else []
    rows = tuple(
        (
            number_cell(trial.number),
            Cell(trial.state, note=trial.reason if trial.state == "failed" else None),
            replace(number_cell(trial.value), best=trial.number == best),
            *_seed_cells(trial, len(seeds)),
            *(_value_cell(trial.params.get(dimension.key)) for dimension in plan.space),
            number_cell(round(trial.seconds, 1)),
        )
        for trial in trials
    )
    keys = [dimension.key for dimension in plan.space]
    columns = ("trial", "state", plan.metric.name, *seeds, *keys, "seconds")
    note = (
        f"{plan.metric.name} on the validation split, {plan.metric.direction_text}. The best score is optimistic: it "
        "selected the trial. A pruned trial was stopped early and has no final score."
    )
    return Sheet(f"{plan.name}: {format_counts(trials)}", columns, rows, notes=(note,))


def _seed_cells(trial: TrialRecord, seeds: int) -> list[Cell]:
    values = list(trial.details.get("values", []))
    return [number_cell(values[i]) if i < len(values) else EMPTY for i in range(seeds)]


def _value_cell(value: Any) -> Cell:
    return EMPTY if value is None else Cell(value) if isinstance(value, str) else number_cell(value)


def report_dict(plan: Plan, trials: Sequence[TrialRecord], shares: dict[str, float]) -> dict[str, Any]:
    """Return the search and all its trials as plain data."""
    return {
        "name": plan.name,
        **plan.defining_settings,
        "sampler": {"name": plan.sampler.name, "seed": plan.sampler.seed, **plan.sampler.settings},
        "pruner": None if plan.pruner is None else {"name": plan.pruner.name, **plan.pruner.settings},
        "importance": shares,
        "trials": [
            {"number": trial.number, "state": trial.state, "params": trial.params, "value": trial.value,
             "curve": trial.curve, **trial.details} for trial in trials
        ],
    }  # fmt: skip
