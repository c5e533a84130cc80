"""The certificate of a reproduction: verdict and figures, what they were measured by, and who could do it again.

certificate.json is for programs, certificate.md for people; both say the same. Plain values only.
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
    baseline: Baseline, judgements: Sequence[HeadlineVerdict], outcomes: Sequence[RunOutcome], verdict: str,
    certified: bool, remarks: Sequence[str], code: Mapping[str, Any], file: GitStatus, folder: Path, begun: str,
) -> dict[str, Any]:  # fmt: skip
    """All that it says of a reproduction that has ended."""
    began = [o for o in outcomes if o.provenance]
    environments = [{key: o.provenance.get(key) or {} for key in ("python", "packages", "hardware")} for o in began]
    described = [o.provenance.get("data") or {} for o in began]
    return {
        "baseline": baseline.name,
        "tier": baseline.tier,
        "verdict": verdict,
        "certificate": certified,
        "remarks": list(remarks),
        "claim": baseline.claim,
        "source": baseline.source.model_dump(exclude_unset=True),
        "level": baseline.level,
        "deterministic": baseline.deterministic,
        "seeds": list(baseline.seeds),
        "headlines": [_headline(judgement) for judgement in judgements],
        "runs": [_run(o, folder) for o in outcomes],
        "code": dict(code),
        "file": asdict(file),
        "data": {f"{d.get('name')} {split}": sha for d in described for split, sha in d.get("sha256", {}).items()},
        "environments": [place for i, place in enumerate(environments) if place not in environments[:i]],
        "hours": {"spent": sum(o.seconds for o in outcomes) / 3600, "expected_of_one": baseline.hours},
        "argv": redact(sys.argv),
        "started": begun,
        "ended": provenance.timestamp(),
    }


def _headline(judgement: HeadlineVerdict) -> dict[str, Any]:
    headline, found = judgement.headline, judgement.equivalence
    interval = None if found is None or found.interval is None else [found.interval.low, found.interval.high]
    return {
        "name": headline.name,
        "verdict": judgement.verdict,
        "why": judgement.reason,
        "metric": headline.metric,
        "arms": list(headline.arms),
        "direction": headline.direction,
        "published": headline.published.model_dump(exclude_unset=True),
        "tolerance": headline.allowed.model_dump(),
        "suspicious": headline.suspicious,
        "mean": None if found is None else _finite(found.estimate.mean),
        "std": None if found is None else found.estimate.std,
        "n": sum(_finite(value) is not None for value in next(iter(judgement.values.values())).values()),
        "interval": interval,
        "distance": None if found is None else _finite(found.distance),
        "values": {arm: {seed: _finite(v) for seed, v in values.items()} for arm, values in judgement.values.items()},
    }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None


def _run(run: RunOutcome, folder: Path) -> dict[str, Any]:
    return {
        "arm": run.arm,
        "seed": run.seed,
        "status": run.status,
        "error": run.error,
        "scores": {key: _finite(score.value) for key, score in run.scores.items()},
        "contracts": {key: score.contract.to_dict() for key, score in run.scores.items()},
        "seconds": run.seconds,
        "reused": run.reused,
        "git": run.provenance.get("git"),
        "folder": run.folder.relative_to(folder).as_posix(),
    }


def save_certificate(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write certificate.json and certificate.md into `folder`; the path of the second."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "certificate.json", json.dumps(content, indent=2) + "\n")
    page = render_template("reproduction/certificate.md.j2", **content, published=_published, range=_range)
    write_file(folder / "certificate.md", page)
    return folder / "certificate.md"


def _published(published: Mapping[str, Any]) -> str:
    if published.get("value") is None:
        return published.get("said") or "no figure"
    spread = f" ± {published['spread']:g}" if published.get("spread") is not None else ""
    about = [published.get("spread_kind"), f"n = {published['n']}" if published.get("n") else None]
    told = ", ".join(str(part) for part in about if part)
    return f"{published['value']:g}{spread}" + (f" ({told})" if told else "")


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return f"at most {most:g}"
    return f"at least {least:g}" if most is None else f"{least:g} to {most:g}"
