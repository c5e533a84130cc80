"""From the runs of a baseline to its verdict.

Each headline is judged by itself: MET if the interval of its mean lies inside the tolerance, NOT MET if wholly outside,
else UNDECIDED (comparison/stats/equivalence.py). A baseline is met only if every headline is, so judging several of
them at one level does not make it easier to be met. A run that is missing, failed or diverged is a bad result: NOT MET.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saddlepoint.comparison.arms.direction import PROPORTIONS
from saddlepoint.comparison.stats.equivalence import EquivalenceResult, Interval, equivalence_test
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score, check_comparable
from saddlepoint.reproduction.baseline import Baseline, Headline
from saddlepoint.run.folder import Run, read_json

MET, NOT_MET, UNDECIDED = "MET", "NOT MET", "UNDECIDED"
FINISHED, MISSING = "finished", "missing"


@dataclass(frozen=True)
class RunOutcome:
    """How one listed run ended."""

    arm: str
    seed: int
    folder: Path
    status: str  # finished, diverged, failed, interrupted, running; missing
    error: str | None
    scores: Mapping[str, Score]
    seconds: float
    reused: bool  # it was there before
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class HeadlineVerdict:
    """A headline's verdict, and the numbers that it stands on, by arm and seed; None where a run has none."""

    headline: Headline
    verdict: str
    reason: str
    values: Mapping[str, Mapping[int, float | None]]
    equivalence: EquivalenceResult | None  # None where runs are missing


def run_outcome(arm: str, seed: int, run: Run, reused: bool) -> RunOutcome:
    """How the run in a folder ended, as its record says."""
    summary = run.summary
    scores = {key: Score.from_dict(plain) for key, plain in (summary.get("final") or {}).items()}
    return RunOutcome(
        arm, seed, run.folder, summary.get("status") or MISSING, summary.get("error"), scores,
        float(summary.get("seconds") or 0.0), reused, read_json(run.folder / "provenance.json"),
    )  # fmt: skip


def overall_verdict(judgements: Sequence[HeadlineVerdict]) -> str:
    """The verdict of all together: the worst."""
    verdicts = {judgement.verdict for judgement in judgements}
    return next(verdict for verdict in (NOT_MET, UNDECIDED, MET) if verdict in verdicts)


def judge_headline(baseline: Baseline, headline: Headline, outcomes: Sequence[RunOutcome]) -> HeadlineVerdict:
    """The verdict on one headline of a baseline."""
    own = {arm: [o for o in outcomes if o.arm == arm] for arm in headline.arms}
    key = headline.metric
    values = {
        arm: {o.seed: o.scores[key].value if key in o.scores and o.status == FINISHED else None for o in runs}
        for arm, runs in own.items()
    }
    problems = [line for runs in own.values() for o in runs for line in _problems(headline, o)]
    problems = problems or _mixed(headline, [o for runs in own.values() for o in runs])
    if problems:
        return HeadlineVerdict(headline, NOT_MET, "; ".join(problems), values, None)
    numbers = [[own for seed in baseline.seeds if (own := values[arm][seed]) is not None] for arm in headline.arms]
    scores = [o.scores[key] for o in outcomes if o.arm in headline.arms]
    found = _verdict(baseline, headline, numbers, score_range(headline, scores))
    return HeadlineVerdict(headline, found.verdict, found.reason, values, found)


def _verdict(
    baseline: Baseline, headline: Headline, numbers: Sequence[Sequence[float]], bounds: Interval | None
) -> EquivalenceResult:
    deterministic = baseline.deterministic or headline.deterministic
    values, *minus = numbers
    if minus and (deterministic or headline.paired):
        values, minus = [a - b for a, b in zip(*numbers, strict=True)], []  # seed by seed
        bounds = bounds and Interval(bounds.low - bounds.high, bounds.high - bounds.low)
    return equivalence_test(
        values, headline.target, headline.tolerance, baseline.level, headline.suspicious, headline.direction,
        deterministic, bounds, *minus,
    )  # fmt: skip


def score_range(headline: Headline, scores: Sequence[Score]) -> Interval | None:
    """What the score can be: as the headline says, else [0, 1] of a share and [0, modes] of a count of modes."""
    if headline.range is not None:
        return Interval(*headline.range)
    metric = scores[0].contract.metric
    if metric in PROPORTIONS:
        return Interval(0.0, 1.0)
    modes = {len(score.detail.get("modes") or score.detail.get("counts") or ()) for score in scores}
    counted = "modes_captured" in metric and len(modes) == 1 and 0 not in modes
    return Interval(0.0, float(modes.pop())) if counted else None


def _problems(headline: Headline, run: RunOutcome) -> list[str]:
    """Why a run has no number for a headline; [] where it has."""
    if run.status != FINISHED:
        return [f"{run.label}: {run.status}{f' ({run.error})' if run.error else ''}"]
    if headline.metric not in run.scores:
        return [f"{run.label}: no {headline.metric} among its final scores, {', '.join(run.scores) or 'none'}"]
    contract = run.scores[headline.metric].contract.to_dict()
    return [
        f"{run.label}: measured with {name}={contract.get(name)}, and the baseline is of {name}={expected}"
        for name, expected in headline.contract.items()
        if contract.get(name) != expected
    ]


def _mixed(headline: Headline, runs: Sequence[RunOutcome]) -> list[str]:
    """Why the runs' scores cannot stand in one column; [] where they can."""
    try:
        check_comparable({run.label: run.scores[headline.metric] for run in runs})
    except Mistake as mistake:
        return [str(mistake).splitlines()[0]]
    return []
