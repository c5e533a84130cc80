"""The certificate of a reproduction: verdicts and scores, how they were measured, and what is needed to repeat it.

certificate.json is for programs, certificate.md for people; both have the same content, of JSON types only. Those of a
rehearsal are rehearsal.json and rehearsal.md, so that no rehearsal replaces a certificate.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saddlepoint.redaction import redact
from saddlepoint.reproduction.baseline import Baseline
from saddlepoint.reproduction.verdict import HeadlineVerdict, RunOutcome
from saddlepoint.run import provenance
from saddlepoint.run.folder import write_file
from saddlepoint.run.repository import GitStatus
from saddlepoint.template import render_template


def certificate_facts(
    baseline: Baseline, headline_verdicts: Sequence[HeadlineVerdict], outcomes: Sequence[RunOutcome], verdict: str,
    certified: bool, remarks: Sequence[str], code: Mapping[str, Any], baseline_file: GitStatus, folder: Path,
    started: str,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of the certificate of a finished reproduction."""
    provenances = [run.provenance for run in outcomes if run.provenance]
    environments = [{key: p.get(key) or {} for key in ("python", "packages", "hardware")} for p in provenances]
    data = [p.get("data") or {} for p in provenances]
    return {
        "baseline": baseline.name,
        "tier": baseline.tier,
        "verdict": verdict,
        "certificate": certified,
        "remarks": list(remarks),
        "claim": baseline.claim,
        "source": baseline.source.model_dump(exclude_unset=True),
        "protocol": baseline.protocol,
        "experiment": baseline.experiment,
        "overrides": list(baseline.extra_overrides),
        "arms": {arm: list(overrides) for arm, overrides in baseline.arms.items()},
        "level": baseline.level,
        "deterministic": baseline.deterministic,
        "seeds": list(baseline.seeds),
        "headlines": [_headline_facts(headline) for headline in headline_verdicts],
        "runs": [_run_facts(run, folder) for run in outcomes],
        "code": dict(code),
        "file": asdict(baseline_file),
        "data": {f"{d.get('name')} {split}": sha for d in data for split, sha in d.get("sha256", {}).items()},
        "environments": [e for i, e in enumerate(environments) if e not in environments[:i]],
        "hours": {"spent": sum(run.seconds for run in outcomes) / 3600, "expected_of_one": baseline.hours},
        "argv": redact(["saddlepoint", *sys.argv[1:]]),
        "started": started,
        "ended": provenance.timestamp(),
    }


def _headline_facts(verdict: HeadlineVerdict) -> dict[str, Any]:
    headline, result = verdict.headline, verdict.equivalence
    ends = [] if result is None or result.interval is None else [result.interval.low, result.interval.high]
    return {
        "name": headline.name,
        "verdict": verdict.verdict,
        "why": verdict.reason,
        "metric": headline.metric,
        "arms": list(headline.arms),
        "direction": headline.direction,
        "published": headline.published.model_dump(exclude_unset=True),
        "tolerance": headline.allowed.model_dump(),
        "suspicious": headline.suspicious,
        "statistic": headline.statistic,
        "measured": None if result is None else _finite_or_none(result.measured),
        "std": None if result is None else _finite_or_none(result.std),
        "n": sum(_finite_or_none(value) is not None for value in next(iter(verdict.values.values())).values()),
        "interval": ends if ends and all(map(math.isfinite, ends)) else None,
        "distance": None if result is None else _finite_or_none(result.distance),
        "values": {
            arm: {seed: _finite_or_none(v) for seed, v in values.items()} for arm, values in verdict.values.items()
        },
    }


def _finite_or_none(value: float | None) -> float | None:
    """Return None for NaN and infinity, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


def _run_facts(run: RunOutcome, folder: Path) -> dict[str, Any]:
    return {
        "arm": run.arm,
        "seed": run.seed,
        "status": run.status,
        "error": run.error,
        "scores": {key: _finite_or_none(score.value) for key, score in run.scores.items()},
        "contracts": {key: score.contract.to_dict() for key, score in run.scores.items()},
        "started": run.provenance.get("started"),
        "seconds": run.seconds,
        "reused": run.reused,
        "git": run.provenance.get("git"),
        "folder": run.folder.relative_to(folder).as_posix(),
    }


def save_certificate(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write the JSON file and the page to `folder`; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "certificate" if content["certificate"] else "rehearsal"
    write_file(folder / f"{name}.json", json.dumps(content, indent=2) + "\n")
    page = render_template(
        "reproduction/certificate.md.j2", **content, published=_format_published, tolerance_range=_format_range
    )
    write_file(folder / f"{name}.md", page)
    return folder / f"{name}.md"


def _format_published(published: Mapping[str, Any]) -> str:
    if published.get("value") is None:
        return published.get("said") or "no figure"
    spread = f" ± {published['spread']:g}" if published.get("spread") is not None else ""
    details = [published.get("spread_kind"), f"n = {published['n']}" if published.get("n") else None]
    text = ", ".join(str(detail) for detail in details if detail)
    return f"{published['value']:g}{spread}" + (f" ({text})" if text else "")


def _format_range(minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return f"at most {maximum:g}"
    return f"at least {minimum:g}" if maximum is None else f"{minimum:g} to {maximum:g}"
