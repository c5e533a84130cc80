"""What a search leaves behind: <outputs>/<name>/report/ with every trial as a table, and the drawings."""

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
    """Write the report of a study into <folder>/report; what there is to say of it, a line each."""
    from saddlepoint.sweep import plot

    plan, trials = study.plan, study.trial_records()
    shares, to = plot.importances(study), folder / "report"
    table = trial_sheet(plan, trials)
    files: dict[str, str | bytes] = {
        "trials.md": to_markdown(table),
        "trials.csv": to_csv(table),
        "trials.json": json.dumps(report_dict(plan, trials, shares), indent=2) + "\n",
    }
    lines = [format_counts(trials)]
    if any(one.state == FINISHED for one in trials):
        files["history.png"] = plot.history_plot(study)
        files["parallel.png"] = plot.parallel_plot(study)
    if shares:
        files["importance.png"] = plot.importance_plot(study)
        lines.append(f"importance (fANOVA): {', '.join(f'{key} {share:.2f}' for key, share in shares.items())}")
    to.mkdir(parents=True, exist_ok=True)
    for name, content_of in files.items():
        write_file(to / name, content_of)
    return [*lines, f"{', '.join(files)}: {to}"]


def format_counts(trials: Sequence[TrialRecord]) -> str:
    """ "30 trials: 22 finished, 7 pruned, 1 failed"."""
    states = [one.state for one in trials]
    return f"{len(states)} trials: {', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))}"


def trial_sheet(plan: Plan, trials: Sequence[TrialRecord]) -> Sheet:
    """A row per trial, in order: how it ended, its values, its score."""
    best = next((one.number for one in rank_finished(plan, trials)), None)
    seeds = [f"seed {seed}" for seed in plan.seeds] if len(plan.seeds) > 1 else []
    rows = tuple(
        (
            number_cell(one.number),
            Cell(one.state, note=one.reason if one.state == "failed" else None),
            replace(number_cell(one.value), best=one.number == best),
            *_by_seed(one, len(seeds)),
            *(_value(one.params.get(each.key)) for each in plan.space),
            number_cell(round(one.seconds, 1)),
        )
        for one in trials
    )
    columns = ("trial", "state", plan.metric.name, *seeds, *(each.key for each in plan.space), "seconds")
    note = (
        f"{plan.metric.name} on the validation split, {plan.metric.direction_text}. The best of these is flattered: it was "
        "chosen by this number. A pruned trial was given up and has no final score."
    )
    return Sheet(f"{plan.name}: {format_counts(trials)}", columns, rows, notes=(note,))


def _by_seed(one: TrialRecord, seeds: int) -> list[Cell]:
    values = list(one.details.get("values", []))
    return [number_cell(values[i]) if i < len(values) else EMPTY for i in range(seeds)]


def _value(value: Any) -> Cell:
    return EMPTY if value is None else Cell(value) if isinstance(value, str) else number_cell(value)


def report_dict(plan: Plan, trials: Sequence[TrialRecord], shares: dict[str, float]) -> dict[str, Any]:
    """All of it as plain values."""
    return {
        "name": plan.name,
        **plan.defining_settings,
        "sampler": {"name": plan.sampler.name, "seed": plan.sampler.seed, **plan.sampler.settings},
        "pruner": None if plan.pruner is None else {"name": plan.pruner.name, **plan.pruner.settings},
        "importance": shares,
        "trials": [
            {"number": one.number, "state": one.state, "params": one.params, "value": one.value, "curve": one.curve,
             **one.details} for one in trials
        ],
    }  # fmt: skip
