"""The verdict on a baseline, from its runs.

Each headline has its own verdict: MET if the interval of its mean or median lies inside the tolerance, NOT MET if it
lies outside, else UNDECIDED (comparison/stats/equivalence.py). A baseline is met only if every headline is, so several
headlines at one level do not make it easier to meet. A missing, failed or diverged run is a bad result: NOT MET.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saddlepoint.comparison.arms.direction import PROPORTIONS
from saddlepoint.comparison.stats.equivalence import EquivalenceResult, equivalence_test
from saddlepoint.comparison.stats.interval import Interval
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score, check_comparable
from saddlepoint.reproduction.baseline import Baseline, Headline
from saddlepoint.run.folder import Run, load_json

MET, NOT_MET, UNDECIDED = "MET", "NOT MET", "UNDECIDED"
FINISHED, MISSING = "finished", "missing"


@dataclass(frozen=True)
class RunOutcome:
    """How one listed run ended, and its final scores."""

    arm: str
    seed: int
    folder: Path
    status: str  # finished, diverged, failed, interrupted, running; missing
    error: str | None
    scores: Mapping[str, Score]
    seconds: float
    reused: bool  # it existed before
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class HeadlineVerdict:
    """The verdict on a headline, and the scores behind it, by arm and seed; None for a run without a score."""

    headline: Headline
    verdict: str
    reason: str
    values: Mapping[str, Mapping[int, float | None]]
    equivalence: EquivalenceResult | None  # None if runs are missing


def load_run_outcome(arm: str, seed: int, run: Run, reused: bool) -> RunOutcome:
    """Return the outcome recorded in a run folder."""
    summary = run.summary
    scores = {key: Score.from_dict(plain) for key, plain in (summary.get("final") or {}).items()}
    return RunOutcome(
        arm, seed, run.folder, summary.get("status") or MISSING, summary.get("error"), scores,
        float(summary.get("seconds") or 0.0), reused, load_json(run.folder / "provenance.json"),
    )  # fmt: skip


def overall_verdict(headline_verdicts: Sequence[HeadlineVerdict]) -> str:
    """Return the worst verdict."""
    verdicts = {headline.verdict for headline in headline_verdicts}
    return next(verdict for verdict in (NOT_MET, UNDECIDED, MET) if verdict in verdicts)


def judge_headline(baseline: Baseline, headline: Headline, outcomes: Sequence[RunOutcome]) -> HeadlineVerdict:
    """Return the verdict on one headline of a baseline."""
    by_arm = {arm: [run for run in outcomes if run.arm == arm] for arm in headline.arms}
    runs, key = [run for runs in by_arm.values() for run in runs], headline.metric
    values = {
        arm: {run.seed: run.scores[key].value if key in run.scores and run.status == FINISHED else None for run in runs}
        for arm, runs in by_arm.items()
    }
    problems = [problem for run in runs for problem in _run_problems(headline, run)]
    problems = problems or _contract_problems(headline, runs)
    if problems:
        return HeadlineVerdict(headline, NOT_MET, "; ".join(problems), values, None)
    numbers = [[x for seed in baseline.seeds if (x := values[arm][seed]) is not None] for arm in headline.arms]
    scores = [run.scores[key] for run in outcomes if run.arm in headline.arms]
    result = _test_equivalence(baseline, headline, numbers, score_range(headline, scores))
    return HeadlineVerdict(headline, result.verdict, result.reason, values, result)


def _test_equivalence(
    baseline: Baseline, headline: Headline, numbers: Sequence[Sequence[float]], bounds: Interval | None
) -> EquivalenceResult:
    deterministic = baseline.deterministic or headline.deterministic
    values, *minus = numbers
    if minus and (deterministic or headline.paired):
        values, minus = [a - b for a, b in zip(*numbers, strict=True)], []  # seed by seed
        bounds = bounds and Interval(bounds.low - bounds.high, bounds.high - bounds.low)
    return equivalence_test(
        values, headline.target, headline.tolerance, baseline.level, headline.suspicious, headline.direction,
        deterministic, bounds, minus[0] if minus else None, headline.statistic,
    )  # fmt: skip


def score_range(headline: Headline, scores: Sequence[Score]) -> Interval | None:
    """Return the headline's range, else [0, 1] for a proportion and [0, modes] for a count of modes; None: unknown."""
    if headline.range is not None:
        return Interval(*headline.range)
    metric = scores[0].contract.metric
    if metric in PROPORTIONS:
        return Interval(0.0, 1.0)
    modes = {len(score.detail.get("modes") or score.detail.get("counts") or ()) for score in scores}
    is_count = "modes_captured" in metric and len(modes) == 1 and 0 not in modes
    return Interval(0.0, float(modes.pop())) if is_count else None


def _run_problems(headline: Headline, run: RunOutcome) -> list[str]:
    """Return why a run has no score for a headline, or one under another contract; [] if it has."""
    if run.status != FINISHED:
        return [f"{run.label}: {run.status}{f' ({run.error})' if run.error else ''}"]
    if headline.metric not in run.scores:
        return [f"{run.label}: no {headline.metric} among its final scores, {', '.join(run.scores) or 'none'}"]
    contract = run.scores[headline.metric].contract.to_dict()
    return [
        f"{run.label}: measured with {name}={contract.get(name)}, and the baseline requires {name}={expected}"
        for name, expected in headline.contract.items()
        if contract.get(name) != expected
    ]


def _contract_problems(headline: Headline, runs: Sequence[RunOutcome]) -> list[str]:
    """Return why the scores of the runs are not comparable; [] if they are."""
    try:
        check_comparable({run.label: run.scores[headline.metric] for run in runs})
    except Mistake as mistake:
        return [str(mistake).splitlines()[0]]
    return []
