"""The overview of a comparison: what was compared, under which contract, and what is missing or failed."""

import math
from collections import Counter
from functools import partial
from statistics import fmean

from saddlepoint.comparison.arms.arm import FINISHED, ScoredRun
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.report.sheet import format_number
from saddlepoint.privacy.guarantee import format_privacy
from saddlepoint.template import render_template

ANCHOR_NAMES = {"real": "held-out reals"}
POOR = "class means + noise"  # the anchor that any generator should beat


def overview_sentences(comparison: Comparison) -> tuple[str, ...]:
    """Return the overview as sentences, the most important first."""
    finished = [r for r in comparison.records if r.status == FINISHED and r.target_images]
    text = render_template(
        "comparison/report/overview.md.j2",
        comparison=comparison,
        outcomes=_count_outcomes(comparison),
        failure=partial(_describe_failure, comparison),
        failure_value=partial(_describe_failure_value, comparison),
        short=[record for record in finished if (record.summary.get("images") or 0) < (record.target_images or 0)],
        single=[arm for arm in comparison.arms if len(arm.values) == 1],
        commits=commit_counts(comparison),
        differences=comparison.unnamed_differences,
        alarms=_alarm_sentence(comparison),
        anchors=_anchor_sentences(comparison),
        lengths={record.target_images for record in comparison.records},
        privacy=_privacy_sentences(comparison),
    )
    return tuple(line for line in text.split("\n") if line)


def _count_outcomes(comparison: Comparison) -> str:
    """Return the number of runs by outcome: "11 finished, 1 diverged"."""
    counts = {FINISHED: 0} | Counter(run.outcome for arm in comparison.arms for run in arm.runs)
    running = {"under way": len(comparison.running)} if comparison.running else {}
    return ", ".join(f"{k} {outcome}" for outcome, k in (counts | running).items())


def _describe_failure(comparison: Comparison, run: ScoredRun) -> str:
    """Return how a run failed, with status and error from its record."""
    record = next(record for record in comparison.records if record.folder == run.folder)
    status = record.status if record.status not in (run.outcome, FINISHED) else ""
    error = str(record.summary.get("error") or "").splitlines()[:1]
    details = ": ".join(part for part in (status, *error) if part)
    return f"{run.outcome} ({details})" if details else run.outcome


def _describe_failure_value(comparison: Comparison, run: ScoredRun) -> str:
    floor = comparison.failure_floor
    if run.finished_without_value:
        return "the worst rank, as it was measured and has no value"
    if math.isinf(run.value):
        return "the worst rank" + (", as no untrained generator has a score" if floor is None else "")
    if run.value == run.final:
        return f"its own score, {format_number(run.value)}, no better than untrained"
    if run.value == floor:
        return f"the worst score of all untrained generators, {format_number(run.value)}"
    return f"its own last score, {format_number(run.value)}, worse than that of any untrained generator"


def _alarm_sentence(comparison: Comparison) -> str:
    """Return, by arm, in how many runs which health rules were raised; "" if in none."""
    parts = []
    for arm in comparison.arms:
        raised = [record.alarms for record in arm.records if record.alarms]
        if raised:
            counts = Counter(rule for rules in raised for rule in rules)
            rules = ", ".join(f"{rule} {count}" for rule, count in counts.items())
            parts.append(f"{arm.name} in {len(raised)} of {len(arm.runs)} runs ({rules})")
    if not parts:
        return ""
    return f"Health alarms, also those that were cleared: {'; '.join(parts)}. Read postmortem.md of these runs."


def _anchor_sentences(comparison: Comparison) -> list[str]:
    """Return the anchors of the primary score, and whether no arm is better than noisy class means; [] if unknown."""
    key = comparison.primary.key
    measured = [record.summary.get("anchors") or {} for record in comparison.records]
    anchors = {name: scores[key]["value"] for each in measured[:1] for name, scores in each.items() if key in scores}
    if not anchors:
        return []
    listed = ", ".join(f"{ANCHOR_NAMES.get(name, name)} {format_number(value)}" for name, value in anchors.items())
    sentences = [f"For scale, anchors of the first run: {listed}."]
    if (poor := anchors.get(POOR)) is not None:
        sign = 1 if comparison.primary.higher_is_better else -1
        if all(sign * fmean(arm.values) <= sign * poor for arm in comparison.arms):
            sentences.append(
                f"No arm is better than {POOR}, the blurred mean of each class: this compares early training at most."
            )
    return sentences


def _privacy_sentences(comparison: Comparison) -> list[str]:
    """Return the weakest guarantee of each arm's runs, and what it does not cover; [] if no run is private."""
    sentences, not_covered = [], ""
    for arm in comparison.arms:
        facts = [record.summary.get("privacy") for record in arm.records]
        private = [each for each in facts if each and each["epsilon"] is not None]
        if private and len(private) == len(facts):
            weakest = max(private, key=lambda each: each["epsilon"])
            sentences.append(f"{arm.name}: {format_privacy(weakest)}.")
            not_covered = f"Not covered by these guarantees: {weakest['not_covered']}."
        else:
            sentences.append(f"{arm.name}: no privacy guarantee.")
    return [*sentences, not_covered] if not_covered else []


def commit_counts(comparison: Comparison) -> dict[str, int]:
    """Return the number of runs by commit; "unknown" if it is not recorded, "+" appended if files were modified."""
    states = [record.provenance.get("git") or {} for record in comparison.records]
    return dict(Counter(f"{git.get('commit', 'unknown')}{'+' * bool(git.get('dirty'))}" for git in states))
