"""What a comparison says before its tables: what was compared, by what contract, and what is missing or failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from saddlepoint.comparison.arms.arm import FINISHED, Entry
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.arms.reading import Record
from saddlepoint.comparison.report.sheet import written

KEYS = 4  # that are named in the sentence on what else differs


def lead(comparison: Comparison) -> tuple[str, ...]:
    """What was compared, by what, and what is missing or failed: sentences, the most important first."""
    asked, score = comparison.asked, comparison.primary
    n = len(comparison.found.records)
    better = "higher" if score.higher_is_better else "lower"
    said = "" if asked.metric else ", the first that all runs have (none was named: metric=...)"
    named = "" if asked.baseline else ", the first arm (none was named: baseline=...)"
    k = len(comparison.running)
    provisional = [
        f"PROVISIONAL: {k} run{'s are' if k > 1 else ' is'} under way and left out: {_folders(comparison.running)}."
    ]
    return (
        *(provisional if comparison.running else []),
        f"{len(comparison.arms)} arms by {', '.join(comparison.by)}; {n} runs found: {_ends(comparison)}.",
        f"Primary score: {score.key}, {better} is better{said}.",
        f"Contract: {_contract(comparison)}.",
        f"Baseline: {comparison.baseline.name}{named}.",
        *_absences(comparison),
    )


def _ends(comparison: Comparison) -> str:
    """ "11 finished, 1 diverged": how runs ended."""
    every = [one.outcome for arm in comparison.arms for one in arm.entries]
    counts = {outcome: every.count(outcome) for outcome in dict.fromkeys([FINISHED, *every])}
    running = {"under way": len(comparison.running)} if comparison.running else {}
    return ", ".join(f"{k} {outcome}" for outcome, k in (counts | running).items())


def _contract(comparison: Comparison) -> str:
    c = comparison.primary.contract
    reals = "unknown" if c.n_real is None else f"{c.n_real:,}"
    settings = "".join(f", {name}={value}" for name, value in c.settings.items() if not isinstance(value, list | dict))
    return (
        f"{c.n_fake:,} samples of {c.weights} weights against {reals} reals ({c.split}, data {c.data[:8]}) by "
        f"{c.extractor} {c.extractor_sha256[:8]} at {c.resolution}, evaluation seed {c.seed}, {c.library} "
        f"{c.version}{settings}"
    )


def _absences(comparison: Comparison) -> list[str]:
    """A sentence for each thing that is missing, failed or broken, and for what names do not say."""
    said = [
        f"{arm.name}: {one.run} is {_why(one.outcome, comparison, one.run)}; it counts with "
        f"{_counted_with(one, comparison)}."
        for arm in comparison.arms
        for one in arm.entries
        if one.failed
    ]
    said += [
        f"{name} lacks {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}."
        for name, seeds in comparison.missing.items()
    ]
    said += _never_begun(comparison.found.never_begun)
    said += [f"{r.folder} ended at {r.summary.get('images'):,} of {r.goal:,} images." for r in _short(comparison)]
    broken = [(record, record.journal[1]) for record in comparison.records if record.journal[1]]
    said += [
        f"{record.folder}/metrics.jsonl: {k} unreadable line{'s were' if k > 1 else ' was'} skipped."
        for record, k in broken
    ]
    lone = [f"{arm.name}: n = 1, so nothing is known of its spread." for arm in comparison.arms if len(arm.values) == 1]
    every = len(lone) == len(comparison.arms)
    said += ["Every arm: n = 1, so nothing is known of any spread."] if every else lone
    if comparison.mixed:
        said.append(f"Left out, measured under several contracts: {', '.join(comparison.mixed)}.")
    if comparison.found.aside:
        k = len(comparison.found.aside)
        said.append(
            f"{k} {'folder of a former run' if k == 1 else 'folders of former runs'} (seed<k>-old<j>) left aside."
        )
    if len(code := commits(comparison)) > 1:
        said.append(f"The runs were made by {len(code)} states of the code: " + _counted(code) + ".")
    if keys := comparison.beside:
        more = f" and {len(keys) - KEYS} more" if len(keys) > KEYS else ""
        said.append(
            f"Beside their names, arms differ in: {', '.join(keys[:KEYS])}{more} (all in the differences of config)."
        )
    return said


def _never_begun(folders: Sequence[Path]) -> list[str]:
    """A sentence for each name of which runs were asked for and never begun."""
    by_name: dict[Path, list[str]] = {}
    for folder in folders:
        by_name.setdefault(folder.parent, []).append(folder.name)
    return [
        f"{name}: {', '.join(seeds)} {'were' if len(seeds) > 1 else 'was'} asked for and never begun."
        for name, seeds in by_name.items()
    ]


def _why(outcome: str, comparison: Comparison, folder: Path) -> str:
    """How it failed, with what the run's own record says of it."""
    record = next(record for record in comparison.records if record.folder == folder)
    told_by = record.status if record.status not in (outcome, FINISHED) else ""
    error = str(record.summary.get("error") or "").splitlines()[:1]
    more = ": ".join(part for part in (told_by, *error) if part)
    return f"{outcome} ({more})" if more else outcome


def _counted_with(one: Entry, comparison: Comparison) -> str:
    """What a failed run counts, and why that."""
    if math.isinf(one.value):
        return "the worst rank" + (", as no untrained generator has a score" if comparison.floor is None else "")
    if one.value == one.final:
        return f"its own score, {written(one.value)}, no better than untrained"
    if one.value == comparison.floor:
        return f"the worst score of all untrained generators, {written(one.value)}"
    return f"its own last score, {written(one.value)}, worse than that of any untrained generator"


def _short(comparison: Comparison) -> list[Record]:
    """Finished runs that saw fewer images than they were to see."""
    return [
        record
        for record in comparison.records
        if record.status == FINISHED and record.goal and (record.summary.get("images") or 0) < record.goal
    ]


def commits(comparison: Comparison) -> dict[str, int]:
    """How many runs were made by each commit, "unknown" where the record does not say; "+" where files differed."""
    counts: dict[str, int] = {}
    for record in comparison.records:
        git = record.provenance.get("git") or {}
        name = f"{git.get('commit', 'unknown')}{'+' * bool(git.get('dirty'))}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _folders(records: Sequence[Record]) -> str:
    return ", ".join(str(record.folder) for record in records)


def _counted(code: dict[str, int]) -> str:
    """ "82e03f2 (3 runs), 0ea7b18+ (1 run)"."""
    short = {f"{name[:7]}{'+' * name.endswith('+')}": k for name, k in code.items()}
    return ", ".join(f"{name} ({k} run{'s' * (k > 1)})" for name, k in short.items())
