"""What a search leaves behind: <outputs>/<name>/report/ with every trial as a table, and the drawings."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from saddlepoint.comparison.report.markup import csv, markdown
from saddlepoint.comparison.report.sheet import NOTHING, Cell, Sheet, number
from saddlepoint.run.folder import write
from saddlepoint.sweep.plan import Plan
from saddlepoint.sweep.study import FINISHED, Standing, Study, best_first


def left(study: Study, folder: Path) -> list[str]:
    """Write the report of a study into <folder>/report; what there is to say of it, a line each."""
    from saddlepoint.sweep import picture

    plan, trials = study.plan, study.standings()
    shares, to = picture.importances(study), folder / "report"
    table = sheet(plan, trials)
    files: dict[str, str | bytes] = {
        "trials.md": markdown(table),
        "trials.csv": csv(table),
        "trials.json": json.dumps(content(plan, trials, shares), indent=2) + "\n",
    }
    lines = [ended(trials)]
    if any(one.state == FINISHED for one in trials):
        files["history.png"] = picture.history(study)
        files["parallel.png"] = picture.parallel(study)
    if shares:
        files["importance.png"] = picture.importance(study)
        lines.append(f"importance (fANOVA): {', '.join(f'{key} {share:.2f}' for key, share in shares.items())}")
    to.mkdir(parents=True, exist_ok=True)
    for name, content_of in files.items():
        write(to / name, content_of)
    return [*lines, f"{', '.join(files)}: {to}"]


def ended(trials: Sequence[Standing]) -> str:
    """ "30 trials: 22 finished, 7 pruned, 1 failed"."""
    states = [one.state for one in trials]
    return f"{len(states)} trials: {', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))}"


def sheet(plan: Plan, trials: Sequence[Standing]) -> Sheet:
    """A row per trial, in order: how it ended, its values, its score."""
    best = next((one.number for one in best_first(plan, trials)), None)
    seeds = [f"seed {seed}" for seed in plan.seeds] if len(plan.seeds) > 1 else []
    rows = tuple(
        (
            number(one.number),
            Cell(one.state, note=one.reason if one.state == "failed" else None),
            replace(number(one.value), best=one.number == best),
            *_by_seed(one, len(seeds)),
            *(_value(one.params.get(each.key)) for each in plan.space),
            number(round(one.seconds, 1)),
        )
        for one in trials
    )
    columns = ("trial", "state", plan.objective.name, *seeds, *(each.key for each in plan.space), "seconds")
    note = (
        f"{plan.objective.name} on the validation split, {plan.objective.way}. The best of these is flattered: it was "
        "chosen by this number. A pruned trial was given up and has no final score."
    )
    return Sheet(f"{plan.name}: {ended(trials)}", columns, rows, notes=(note,))


def _by_seed(one: Standing, seeds: int) -> list[Cell]:
    values = list(one.about.get("values", []))
    return [number(values[i]) if i < len(values) else NOTHING for i in range(seeds)]


def _value(value: Any) -> Cell:
    return NOTHING if value is None else Cell(value) if isinstance(value, str) else number(value)


def content(plan: Plan, trials: Sequence[Standing], shares: dict[str, float]) -> dict[str, Any]:
    """All of it as plain values."""
    return {
        "name": plan.name,
        **plan.identity,
        "sampler": {"name": plan.sampler.name, "seed": plan.sampler.seed, **plan.sampler.settings},
        "pruner": None if plan.pruner is None else {"name": plan.pruner.name, **plan.pruner.settings},
        "importance": shares,
        "trials": [
            {"number": one.number, "state": one.state, "params": one.params, "value": one.value, "curve": one.curve,
             **one.about} for one in trials
        ],
    }  # fmt: skip
