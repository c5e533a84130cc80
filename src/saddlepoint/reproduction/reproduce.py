"""Reproducing a published figure: trains the runs that a baseline lists, and says whether it is met.

The verdict can be trusted because little is left to choose: the seeds, the length, the score and the tolerance stand in
a committed file, the code in a clean tree, and every listed run counts, whatever became of it.
"""

import copy
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.resume import NEUTRAL_DATA_KEYS, NEUTRAL_KEYS, mismatches
from saddlepoint.multirun.multirun import folder_of_config, make_single_run, train_all
from saddlepoint.reproduction import certificate
from saddlepoint.reproduction.baseline import Baseline, planned_runs
from saddlepoint.reproduction.verdict import (
    MISSING,
    HeadlineVerdict,
    RunOutcome,
    judge_headline,
    overall_verdict,
    run_outcome,
)
from saddlepoint.run import destination, provenance
from saddlepoint.run.folder import Run
from saddlepoint.run.repository import COMMITTED, OUTSIDE, GitStatus, git_status, is_clean

FINAL_STATUSES = ("finished", "diverged", "stopped")  # a run that ended so is not begun again
NO_CERTIFICATE = "not a certificate: dirty tree"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction:
    """How a reproduction ended: its verdict, and whether what was written of it, `file`, is a certificate."""

    verdict: str
    certified: bool
    headline_verdicts: Sequence[HeadlineVerdict]
    remarks: Sequence[str]  # what has to be said aloud
    content: Mapping[str, Any]
    file: Path


def reproduce(
    baseline: Baseline,
    overrides: Sequence[str],
    settings: DictConfig,
    config_dir: str | None,
    console: Console,
    log: Say,
) -> Reproduction:
    """Train what is not there yet, and judge.  Raises Mistake for what may not count."""
    begun = provenance.timestamp()
    _refuse_choices(overrides, baseline)
    code, file = code_state(), git_status(baseline.path)
    remarks = _remarks(code, file, baseline, settings.allow_dirty)
    certified = NO_CERTIFICATE not in remarks
    folder = destination.check_output_folder(
        Path(settings.outputs) / "reproduce" / f"{baseline.name}-{baseline.tier}", "outputs"
    )
    configs = run_configs(baseline, overrides, folder, config_dir)
    log(f"{baseline.name}, {baseline.tier}: {len(configs)} runs, {baseline.hours:g} h each expected. {baseline.claim}")
    there = _kept(configs, code, settings.retrain, not certified, log)
    if waiting := {key: configs[key] for key in configs if key not in there}:
        train_all([(_label(key), one) for key, one in waiting.items()], console)
    outcomes = [run_outcome(*key, Run(folder_of_config(one)), key in there) for key, one in configs.items()]
    if certified:
        _refuse_changed(outcomes, code)
    if all(one.status == MISSING for one in outcomes):
        raise Mistake("no run began, so nothing was measured and nothing is certified; the reasons stand above")
    judgements = [judge_headline(baseline, headline, outcomes) for headline in baseline.headlines]
    verdict = overall_verdict(judgements)
    content = certificate.certificate_facts(
        baseline, judgements, outcomes, verdict, certified, remarks, code, file, folder, begun
    )
    return Reproduction(verdict, certified, judgements, remarks, content, certificate.save_certificate(folder, content))


def code_state() -> dict[str, Any]:
    """The commit of the checkout that this code is, and whether it is clean; of an installed package, its version."""
    checkout = (provenance.CHECKOUT / "pyproject.toml").exists()
    git = provenance.current_commit(provenance.CHECKOUT) if checkout else None
    git = git or {"commit": None, "dirty": checkout}  # nobody can tell what a checkout without git was made of
    return {**git, "version": importlib.metadata.version("saddlepoint")}


def _refuse_choices(words: Sequence[str], baseline: Baseline) -> None:
    """Raise Mistake for a word that would change what is trained or how it is measured."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        first, _, last = key.partition(".")
        if first in NEUTRAL_KEYS or (first == "data" and last in NEUTRAL_DATA_KEYS):
            continue
        if first in ("seed", "seeds"):
            listed = ", ".join(map(str, baseline.seeds))
            raise Mistake(f"{word}: baseline {baseline.name} lists its seeds, exactly {listed}; no others count")
        allowed = [*(f"data.{name}" for name in NEUTRAL_DATA_KEYS), *NEUTRAL_KEYS]
        close = did_you_mean(key, [*allowed, *catalogue.command_keys("reproduce")])
        raise Mistake(
            f"{word}: a baseline says what is trained and how it is measured.{close} Only where it lies and runs is "
            f"yours to say: {', '.join(allowed)}"
        )


def _remarks(code: Mapping[str, Any], file: GitStatus, baseline: Baseline, allowed: bool) -> list[str]:
    """What the certificate has to say aloud.  Raises Mistake where code or baseline differ from what is committed."""
    wrong, place = [], baseline.path.parents[1]
    # a virtual environment may lie in somebody's repository, which says nothing of what is installed there
    installed = code["commit"] is None and not code["dirty"] and place == catalogue.conf_folder()
    if file.state not in (COMMITTED, OUTSIDE) and not installed:
        wrong.append(f"{baseline.path} is {file.state}: a baseline is committed before its runs, and not edited after")
    if code["dirty"]:
        known = f"differs from commit {code['commit'][:12]}" if code["commit"] else "has no commit that git can tell"
        wrong.append(f"the tree is not clean: {provenance.CHECKOUT} {known}")
    elif file.state == COMMITTED and not is_clean(place):
        wrong.append(f"{place} differs from its commit: what a baseline is composed of is committed with it")
    if wrong and not allowed:
        raise Mistake(f"{'; '.join(wrong)}.\nCommit it, or rehearse without a certificate: allow_dirty=true")
    remarks = [NO_CERTIFICATE, *wrong] if wrong else []
    if file.state == OUTSIDE and not installed:
        remarks.append("not committed: the baseline lies in no repository")
    return remarks


def _refuse_changed(outcomes: Sequence[RunOutcome], code: Mapping[str, Any]) -> None:
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


def run_configs(
    baseline: Baseline, rest: Sequence[str], folder: Path, config_dir: str | None = None
) -> dict[tuple[str, int], DictConfig]:
    """The config of each listed run, by arm and seed; their folders lie in `folder`.  Raises Mistake."""
    of_arm = {arm: _config(baseline, arm, rest, folder, config_dir) for arm in baseline.arms}
    configs = {}
    for arm, seed in planned_runs(baseline):
        configs[arm, seed] = copy.deepcopy(of_arm[arm])
        configs[arm, seed].seed = seed  # neither the name nor a choice depends on it
    return configs


def _config(baseline: Baseline, arm: str, rest: Sequence[str], folder: Path, config_dir: str | None) -> DictConfig:
    try:
        written = allow_list.overrides_from_file([*baseline.overrides, *baseline.arms[arm]], str(baseline.path))
        config = compose([*written, *rest], config_dir)
        check(config)
    except Mistake as mistake:
        raise Mistake(f"baseline {baseline.name}, arm {arm}: {mistake}") from None
    config.outputs = str(folder)
    make_single_run(config)
    return config


def _kept(
    configs: Mapping[tuple[str, int], DictConfig], code: Mapping[str, Any], retrain: bool, rehearsal: bool, say: Say
) -> set[tuple[str, int]]:
    """The runs that are there and over.  Raises Mistake where a folder holds another run, unless it may be moved aside.

    A run that was broken off goes on; one that diverged, or that a rule of its health stopped, did so, and counts.
    """
    kept = set()
    for key, config in configs.items():
        run = Run(folder_of_config(config))
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
        elif run.summary.get("status") in FINAL_STATUSES:
            code_too = "" if rehearsal else ", by this very code"
            say(f"{_label(key)}: {run.summary['status']} before{code_too}")
            kept.add(key)
    return kept


def _label(key: tuple[str, int]) -> str:
    return f"{key[0]} seed={key[1]}"
