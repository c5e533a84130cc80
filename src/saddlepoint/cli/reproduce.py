"""saddlepoint reproduce: trains the runs that a baseline lists, and says whether its published figure is met.

    saddlepoint reproduce baseline=historical_averaging
    saddlepoint reproduce baseline=salimans2016_mnist_100_labels tier=short data.root=...

The verdict can be trusted because little is left to choose: the seeds, the length, the score and the tolerance stand in
a committed file, the code in a clean tree, and every listed run counts, whatever became of it.
"""

from __future__ import annotations

import copy
import importlib.metadata
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict
from rich.console import Console

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.console.output import result
from saddlepoint.console.terminal import speaker
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.same_run import DATA_ELSEWHERE, ELSEWHERE, mismatches
from saddlepoint.multirun import multirun
from saddlepoint.redaction import discreet
from saddlepoint.reproduction import baseline as baselines
from saddlepoint.reproduction import certificate
from saddlepoint.reproduction.baseline import Baseline, planned
from saddlepoint.reproduction.verdict import (
    MET,
    MISSING,
    NOT_MET,
    UNDECIDED,
    Judgement,
    Outcome,
    judged,
    outcome,
    overall,
)
from saddlepoint.run import destination, provenance
from saddlepoint.run.folder import Run
from saddlepoint.run.repository import COMMITTED, OUTSIDE, Standing, standing, unchanged

EXITS = {MET: 0, NOT_MET: 1, UNDECIDED: 2}
OVER = ("finished", "diverged", "stopped")  # a run that ended so is not begun again
NO_CERTIFICATE = "not a certificate: dirty tree"
Say = Callable[[str], None]


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """0 where the baseline is met, 1 where it is not, 2 where the runs cannot tell, or may not."""
    console = Console(stderr=True)
    own = catalogue.folder_of(config_dir)
    if config.baseline is None:
        there = ", ".join(catalogue.members("baseline", own))
        raise Mistake(f"which baseline? baseline=<name>; there are: {there}")
    found = baselines.load(config.baseline, config.tier, own)
    verdict, certified = reproduce(found, rest, config, config_dir, console)
    return EXITS[verdict] if certified else 2


def reproduce(
    baseline: Baseline,
    rest: Sequence[str],
    config: DictConfig,
    config_dir: str | None,
    console: Console,
) -> tuple[str, bool]:
    """The verdict, and whether what was written is a certificate.  Raises Mistake for what may not count."""
    say, begun = speaker(console), provenance.now()
    _refuse_choices(rest, baseline)
    code, file = code_of(), standing(baseline.path)
    remarks = _remarks(code, file, baseline, config.allow_dirty)
    folder = destination.folder(Path(config.outputs) / "reproduce" / f"{baseline.name}-{baseline.tier}", "outputs")
    configs = configs_of(baseline, rest, folder, config_dir)
    told = f"{baseline.name}, {baseline.tier}: {len(configs)} runs, {baseline.hours:g} h each expected"
    say(f"{told}. {baseline.claim}")
    there = _kept(configs, code, config.retrain, NO_CERTIFICATE in remarks, say)
    if waiting := {key: configs[key] for key in configs if key not in there}:
        trained([(_label(key), one) for key, one in waiting.items()], console)
    outcomes = [outcome(*key, Run(_folder(one)), key in there) for key, one in configs.items()]
    if NO_CERTIFICATE not in remarks:
        _refuse_changed(outcomes, code)
    if all(one.status == MISSING for one in outcomes):
        raise Mistake("no run began, so nothing was measured and nothing is certified; the reasons stand above")
    judgements = judged(baseline, outcomes)
    verdict = overall(judgements)
    content = _content(baseline, judgements, outcomes, verdict, remarks, code, file, folder, begun)
    path = certificate.record(folder, content)
    result()(_lines(judgements, verdict, remarks, path), {**content, "file": path})
    return verdict, NO_CERTIFICATE not in remarks


def trained(configs: Sequence[tuple[str, DictConfig]], console: Console) -> None:
    """Train each run, in processes of their own; how they ended stands in their folders."""
    multirun.launched(configs, console)


def code_of() -> dict[str, Any]:
    """The commit of the checkout that this code is, and whether it is clean; of an installed package, its version."""
    checkout = (provenance.CHECKOUT / "pyproject.toml").exists()
    git = provenance.commit(provenance.CHECKOUT) if checkout else None
    git = git or {"commit": None, "dirty": checkout}  # nobody can tell what a checkout without git was made of
    return {**git, "version": importlib.metadata.version("saddlepoint")}


# --------------------------------------------------------------------------------------------- what may be said at all


def _refuse_choices(words: Sequence[str], baseline: Baseline) -> None:
    """Raise Mistake for a word that would change what is trained or how it is measured."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        first, _, last = key.partition(".")
        if first in ELSEWHERE or (first == "data" and last in DATA_ELSEWHERE):
            continue
        if first in ("seed", "seeds"):
            listed = ", ".join(map(str, baseline.seeds))
            raise Mistake(f"{word}: baseline {baseline.name} lists its seeds, exactly {listed}; no others count")
        allowed = [*(f"data.{name}" for name in DATA_ELSEWHERE), *ELSEWHERE]
        close = did_you_mean(key, [*allowed, *catalogue.keys("reproduce")])
        raise Mistake(
            f"{word}: a baseline says what is trained and how it is measured.{close} Only where it lies and runs is "
            f"yours to say: {', '.join(allowed)}"
        )


def _remarks(code: Mapping[str, Any], file: Standing, baseline: Baseline, allowed: bool) -> list[str]:
    """What the certificate has to say aloud.  Raises Mistake where code or baseline differ from what is committed."""
    wrong, place = [], baseline.path.parents[1]
    # a virtual environment may lie in somebody's repository, which says nothing of what is installed there
    installed = code["commit"] is None and not code["dirty"] and place == catalogue.conf()
    if file.state not in (COMMITTED, OUTSIDE) and not installed:
        wrong.append(f"{baseline.path} is {file.state}: a baseline is committed before its runs, and not edited after")
    if code["dirty"]:
        known = f"differs from commit {code['commit'][:12]}" if code["commit"] else "has no commit that git can tell"
        wrong.append(f"the tree is not clean: {provenance.CHECKOUT} {known}")
    elif file.state == COMMITTED and not unchanged(place):
        wrong.append(f"{place} differs from its commit: what a baseline is composed of is committed with it")
    if wrong and not allowed:
        raise Mistake(f"{'; '.join(wrong)}.\nCommit it, or rehearse without a certificate: allow_dirty=true")
    remarks = [NO_CERTIFICATE, *wrong] if wrong else []
    if file.state == OUTSIDE and not installed:
        remarks.append("not committed: the baseline lies in no repository")
    return remarks


def _refuse_changed(outcomes: Sequence[Outcome], code: Mapping[str, Any]) -> None:
    """Raise Mistake where the code was changed or edited while runs were under way."""
    for run in outcomes:
        git = run.provenance.get("git")
        if run.provenance and git is None and code["commit"] is not None:
            raise Mistake(f"{run.label}: git could not tell the commit that it was trained at. Run again, retrain=true")
        if git is not None and (git["commit"] != code["commit"] or git["dirty"]):
            raise Mistake(
                f"{run.label}: the tree changed while it was trained (commit {git['commit'][:12]}, "
                f"{'not clean' if git['dirty'] else 'clean'}). Commit, and run again with retrain=true"
            )


# ------------------------------------------------------------------------------------------------------------ the runs


def configs_of(
    baseline: Baseline, rest: Sequence[str], folder: Path, config_dir: str | None = None
) -> dict[tuple[str, int], DictConfig]:
    """The config of each listed run, by arm and seed; their folders lie in `folder`.  Raises Mistake."""
    of_arm = {arm: _config(baseline, arm, rest, folder, config_dir) for arm in baseline.arms}
    configs = {}
    for arm, seed in planned(baseline):
        configs[arm, seed] = copy.deepcopy(of_arm[arm])
        configs[arm, seed].seed = seed  # neither the name nor a choice depends on it
    return configs


def _config(baseline: Baseline, arm: str, rest: Sequence[str], folder: Path, config_dir: str | None) -> DictConfig:
    """The config of an arm, its seed left to say."""
    try:
        written = allow_list.of_file([*baseline.words, *baseline.arms[arm]], str(baseline.path))
        config = compose([*written, *rest], config_dir)
        check(config)
    except Mistake as mistake:
        raise Mistake(f"baseline {baseline.name}, arm {arm}: {mistake}") from None
    with open_dict(config):
        config.outputs = str(folder)
        config.many = {}
        config.threads = config.threads or config.launcher.get("threads")
    return config


def _kept(
    configs: Mapping[tuple[str, int], DictConfig], code: Mapping[str, Any], retrain: bool, rehearsal: bool, say: Say
) -> set[tuple[str, int]]:
    """The runs that are there and over.  Raises Mistake where a folder holds another run, unless it may be moved aside.

    A run that was broken off goes on; one that diverged, or that a rule of its health stopped, did so, and counts.
    """
    kept = set()
    for key, config in configs.items():
        run = Run(_folder(config))
        if not run.config.exists():
            continue
        wrong = mismatches(run, config, code)
        if rehearsal:
            wrong = [line for line in wrong if not line.startswith("it was trained")]
        if wrong and not retrain:
            raise Mistake(
                f"{run.folder} cannot count as {_label(key)}: {'; '.join(wrong[:3])}.\n"
                "retrain=true moves it aside and trains again"
            )
        if wrong:
            say(f"{_label(key)}: the run that was there, {wrong[0]}, now lies in {run.move_aside()}")
        elif run.summary.get("status") in OVER:
            code_too = "" if rehearsal else ", by this very code"
            say(f"{_label(key)}: {run.summary['status']} before{code_too}")
            kept.add(key)
    return kept


def _label(key: tuple[str, int]) -> str:
    return f"{key[0]} seed={key[1]}"


def _folder(config: DictConfig) -> Path:
    return Path(config.outputs) / config.name / f"seed{config.seed}"


# ----------------------------------------------------------------------------------------------------- what is written


def _content(
    baseline: Baseline, judgements: Sequence[Judgement], outcomes: Sequence[Outcome], verdict: str,
    remarks: Sequence[str], code: Mapping[str, Any], file: Standing, folder: Path, begun: str,
) -> dict[str, Any]:  # fmt: skip
    """The certificate, as plain values."""
    began = [o for o in outcomes if o.provenance]
    environments = [{key: o.provenance.get(key) or {} for key in ("python", "packages", "hardware")} for o in began]
    described = [o.provenance.get("data") or {} for o in began]
    return {
        "baseline": baseline.name,
        "tier": baseline.tier,
        "verdict": verdict,
        "certificate": NO_CERTIFICATE not in remarks,
        "remarks": list(remarks),
        "claim": baseline.claim,
        "source": dict(baseline.source),
        "level": baseline.level,
        "deterministic": baseline.deterministic,
        "seeds": list(baseline.seeds),
        "headlines": [_headline(judgement) for judgement in judgements],
        "runs": [_run(o, folder) for o in outcomes],
        "code": dict(code),
        "file": file.to_dict(),
        "data": {f"{d.get('name')} {split}": sha for d in described for split, sha in d.get("sha256", {}).items()},
        "environments": [place for i, place in enumerate(environments) if place not in environments[:i]],
        "hours": {"spent": sum(o.seconds for o in outcomes) / 3600, "expected_of_one": baseline.hours},
        "argv": discreet(sys.argv),
        "started": begun,
        "ended": provenance.now(),
    }


def _headline(judgement: Judgement) -> dict[str, Any]:
    headline, found = judgement.headline, judgement.found
    interval = None if found is None or found.interval is None else [found.interval.low, found.interval.high]
    return {
        "name": headline.name,
        "verdict": judgement.verdict,
        "why": judgement.why,
        "metric": headline.metric,
        "arms": list(headline.arms),
        "direction": headline.direction,
        "published": dict(headline.published),
        "tolerance": {"least": headline.least, "most": headline.most, "why": headline.why},
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


def _run(run: Outcome, folder: Path) -> dict[str, Any]:
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


def _lines(judgements: Sequence[Judgement], verdict: str, remarks: Sequence[str], path: Path) -> list[str]:
    """What people read: a line per headline, what has to be said aloud, the verdict and where its certificate lies."""
    each = [f"{judgement.verdict:<9} {judgement.headline.name}: {judgement.why}" for judgement in judgements]
    return [*each, *remarks, f"{verdict}: {path}"]
