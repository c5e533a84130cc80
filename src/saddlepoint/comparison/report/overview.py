"""What a comparison says before its tables: what was compared, by what contract, and what is missing or failed."""

import math
from collections import Counter
from functools import partial

from saddlepoint.comparison.arms.arm import FINISHED, ScoredRun
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.report.sheet import format_number
from saddlepoint.template import render_template


def overview_sentences(comparison: Comparison) -> tuple[str, ...]:
    """What was compared, by what, and what is missing or failed: sentences, the most important first."""
    ended = [r for r in comparison.records if r.status == FINISHED and r.goal]
    text = render_template(
        "comparison/report/lead.md.j2",
        comparison=comparison,
        ends=_ends(comparison),
        why=partial(_why, comparison),
        counted=partial(_counted, comparison),
        short=[record for record in ended if (record.summary.get("images") or 0) < (record.goal or 0)],
        alone=[arm for arm in comparison.arms if len(arm.values) == 1],
        code=commit_counts(comparison),
        beside=comparison.unnamed_differences,
    )
    return tuple(line for line in text.split("\n") if line)


def _ends(comparison: Comparison) -> str:
    """ "11 finished, 1 diverged": how runs ended."""
    counts = {FINISHED: 0} | Counter(one.outcome for arm in comparison.arms for one in arm.entries)
    running = {"under way": len(comparison.running)} if comparison.running else {}
    return ", ".join(f"{k} {outcome}" for outcome, k in (counts | running).items())


def _why(comparison: Comparison, one: ScoredRun) -> str:
    """How it failed, with what the run's own record says of it."""
    record = next(record for record in comparison.records if record.folder == one.run)
    told_by = record.status if record.status not in (one.outcome, FINISHED) else ""
    error = str(record.summary.get("error") or "").splitlines()[:1]
    more = ": ".join(part for part in (told_by, *error) if part)
    return f"{one.outcome} ({more})" if more else one.outcome


def _counted(comparison: Comparison, one: ScoredRun) -> str:
    if math.isinf(one.value):
        return "the worst rank" + (
            ", as no untrained generator has a score" if comparison.failure_floor is None else ""
        )
    if one.value == one.final:
        return f"its own score, {format_number(one.value)}, no better than untrained"
    if one.value == comparison.failure_floor:
        return f"the worst score of all untrained generators, {format_number(one.value)}"
    return f"its own last score, {format_number(one.value)}, worse than that of any untrained generator"


def commit_counts(comparison: Comparison) -> dict[str, int]:
    """How many runs were made by each commit, "unknown" where the record does not say; "+" where files differed."""
    states = [record.provenance.get("git") or {} for record in comparison.records]
    return dict(Counter(f"{git.get('commit', 'unknown')}{'+' * bool(git.get('dirty'))}" for git in states))
