"""Reproduces a published figure: trains the runs that a baseline lists, and returns the verdict.

The verdict is trustworthy because little is left to choose: seeds, length, score and tolerance are in a committed file,
the code is a clean tree, and every listed run counts, however it ended.
"""

import copy
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.resume import NEUTRAL_DATA_KEYS, NEUTRAL_KEYS, find_run_mismatches
from saddlepoint.multirun.multirun import folder_of_config, narrow_to_single_run, train_all
from saddlepoint.reproduction import certificate
from saddlepoint.reproduction.baseline import Baseline, planned_runs
from saddlepoint.reproduction.verdict import (
    MISSING,
    HeadlineVerdict,
    RunOutcome,
    judge_headline,
    load_run_outcome,
    overall_verdict,
)
from saddlepoint.run import destination, provenance
from saddlepoint.run.folder import Run, load_json
from saddlepoint.run.repository import COMMITTED, OUTSIDE, GitStatus, changed_files, file_git_status, is_clean

FINAL_STATUSES = ("finished", "diverged", "stopped")  # a run that ended like this is not started again
NO_COMMIT = "has no commit that git can read"
NO_CERTIFICATE = "not a certificate: dirty tree"
Log = Callable[[str], None]
RunKey = tuple[str, int]  # arm and seed


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction; `certified` is whether `file` is a certificate."""

    verdict: str
    certified: bool
    headline_verdicts: Sequence[HeadlineVerdict]
    remarks: Sequence[str]  # printed prominently
    content: Mapping[str, Any]
    file: Path


def reproduce(
    baseline: Baseline,
    overrides: Sequence[str],
    settings: DictConfig,
    config_dir: str | None,
    console: Console,
    log: Log,
) -> Reproduction:
    """Train the missing runs, and write verdict and certificate. Raises Mistake for what cannot be certified."""
    started = provenance.timestamp()
    _check_overrides(overrides, baseline)
    code, file = code_state(), file_git_status(baseline.path)
    remarks = _certificate_remarks(code, file, baseline, settings.allow_dirty)
    certified = NO_CERTIFICATE not in remarks
    folder = Path(settings.outputs) / "reproduce" / f"{baseline.name}-{baseline.tier}"
    folder = destination.check_output_folder(folder, "outputs")
    configs = compose_run_configs(baseline, overrides, folder, config_dir)
    log(f"{baseline.name}, {baseline.tier}: {len(configs)} runs, {baseline.hours:g} h each expected. {baseline.claim}")
    reusable = _find_reusable_or_move_aside(configs, code, file, settings.retrain, not certified, log)
    if missing := {key: config for key, config in configs.items() if key not in reusable}:
        train_all([(_format_run_key(key), config) for key, config in missing.items()], console)
    outcomes = [load_run_outcome(*key, Run(folder_of_config(c)), key in reusable) for key, c in configs.items()]
    if certified:
        _check_code_unchanged(outcomes, code)
    if all(run.status == MISSING for run in outcomes):
        raise Mistake("no run started, so nothing was measured and nothing is certified; the reasons are above")
    headlines = [judge_headline(baseline, headline, outcomes) for headline in baseline.headlines]
    verdict = overall_verdict(headlines)
    content = certificate.certificate_facts(
        baseline, headlines, outcomes, verdict, certified, remarks, code, file, folder, started
    )
    return Reproduction(verdict, certified, headlines, remarks, content, certificate.save_certificate(folder, content))


def code_state() -> dict[str, Any]:
    """Return the commit of the checkout and whether it is dirty, and the version of the package."""
    is_checkout = (provenance.CHECKOUT / "pyproject.toml").exists()
    git = provenance.commit_state(provenance.CHECKOUT) if is_checkout else None
    git = git or {"commit": None, "dirty": is_checkout}  # without git the state of a checkout is unknown: dirty
    return {**git, "version": importlib.metadata.version("saddlepoint")}


def _check_overrides(overrides: Sequence[str], baseline: Baseline) -> None:
    """Raise Mistake for an override that changes what is trained or how it is measured."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        first, _, last = key.partition(".")
        if first in NEUTRAL_KEYS or (first == "data" and last in NEUTRAL_DATA_KEYS):
            continue
        if first in ("seed", "seeds"):
            listed = ", ".join(map(str, baseline.seeds))
            raise Mistake(f"{override}: baseline {baseline.name} lists its seeds, exactly {listed}; no others count")
        allowed = [*(f"data.{name}" for name in NEUTRAL_DATA_KEYS), *NEUTRAL_KEYS]
        hint = did_you_mean(key, [*allowed, *catalogue.command_keys("reproduce")])
        raise Mistake(
            f"{override}: a baseline fixes what is trained and how it is measured.{hint} You can set only where files "
            f"are and where it runs: {', '.join(['outputs', *allowed])}"
        )


def _certificate_remarks(code: Mapping[str, Any], file: GitStatus, baseline: Baseline, allow_dirty: bool) -> list[str]:
    """Return the remarks of the certificate. Raises Mistake if code or baseline differ from what is committed."""
    problems, conf = [], baseline.path.parents[1]
    # a virtual environment may lie in another repository, which does not track what is installed in it
    is_installed = code["commit"] is None and not code["dirty"] and conf == catalogue.conf_folder()
    if file.state not in (COMMITTED, OUTSIDE) and not is_installed:
        problems.append(
            f"{baseline.path} is {file.state}: a baseline is committed before its runs, and not edited after"
        )
    if code["dirty"]:
        changed = changed_files(provenance.CHECKOUT)
        state = f"differs from commit {code['commit'][:12]} in {changed}" if code["commit"] else NO_COMMIT
        problems.append(f"the tree is not clean: {provenance.CHECKOUT} {state}")
    elif file.state == COMMITTED and not is_clean(conf):
        problems.append(
            f"{conf} differs from its commit in {changed_files(conf)}: commit all files that it is composed of"
        )
    if problems and not allow_dirty:
        raise Mistake(f"{'; '.join(problems)}.\nCommit it, or rehearse without a certificate: allow_dirty=true")
    remarks = [NO_CERTIFICATE, *problems] if problems else []
    if file.state == OUTSIDE and not is_installed:
        remarks.append("not committed: the baseline lies in no repository")
    return remarks


def _check_code_unchanged(outcomes: Sequence[RunOutcome], code: Mapping[str, Any]) -> None:
    """Raise Mistake if the code changed while runs were under way."""
    for run in outcomes:
        git = run.provenance.get("git")
        if run.provenance and git is None and code["commit"] is not None:
            raise Mistake(f"{run.label}: git could not read the commit that it was trained at. Run again, retrain=true")
        if git is not None and (git["commit"] != code["commit"] or git["dirty"]):
            raise Mistake(
                f"{run.label}: the tree changed while it was trained (commit {git['commit'][:12]}, "
                f"{'not clean' if git['dirty'] else 'clean'}). Commit, and run again with retrain=true"
            )


def compose_run_configs(
    baseline: Baseline, overrides: Sequence[str], folder: Path, config_dir: str | None = None
) -> dict[RunKey, DictConfig]:
    """Return the config of each listed run, by arm and seed; their run folders are in `folder`. Raises Mistake."""
    arm_configs = {arm: _compose_arm(baseline, arm, overrides, folder, config_dir) for arm in baseline.arms}
    configs = {}
    for arm, seed in planned_runs(baseline):
        configs[arm, seed] = copy.deepcopy(arm_configs[arm])
        configs[arm, seed].seed = seed  # neither the run's name nor its composition depends on it
    return configs


def _compose_arm(
    baseline: Baseline, arm: str, overrides: Sequence[str], folder: Path, config_dir: str | None
) -> DictConfig:
    try:
        from_file = allow_list.check_file_overrides([*baseline.overrides, *baseline.arms[arm]], str(baseline.path))
        config = compose([*from_file, *overrides], config_dir)
        check(config)
    except Mistake as mistake:
        raise Mistake(f"baseline {baseline.name}, arm {arm}: {mistake}") from None
    config.outputs = str(folder)
    narrow_to_single_run(config)
    return config


def _find_reusable_or_move_aside(
    configs: Mapping[RunKey, DictConfig], code: Mapping[str, Any], file: GitStatus, retrain: bool, rehearsal: bool,
    log: Log,
) -> set[RunKey]:  # fmt: skip
    """Return the keys of the runs that exist and have ended; an interrupted run is resumed.

    A run that diverged, or that a health rule stopped, has ended and counts. If a folder holds another run, it is moved
    aside with `retrain`; without it Mistake is raised.
    """
    reusable = set()
    for key, config in configs.items():
        run = Run(folder_of_config(config))
        if not run.config.exists():
            continue
        problems = [*find_run_mismatches(run, config, code), *_earlier_than_claims(run, file)]
        if rehearsal:
            problems = [problem for problem in problems if not problem.startswith("it was trained")]
        if problems and not retrain:
            raise Mistake(
                f"{run.folder} cannot count as {_format_run_key(key)}: {'; '.join(problems[:3])}.\n"
                "retrain=true moves it aside and trains again"
            )
        if problems:
            log(f"{_format_run_key(key)}: the existing run, {problems[0]}, was moved to {run.move_aside()}")
        elif run.summary.get("status") in FINAL_STATUSES:
            same_code = "" if rehearsal else ", by the same code"
            log(f"{_format_run_key(key)}: {run.summary['status']} before{same_code}")
            reusable.add(key)
    return reusable


def _earlier_than_claims(run: Run, file: GitStatus) -> list[str]:
    """Return why a run that started before the last commit of the baseline does not count, or []."""
    record = load_json(run.folder / "provenance.json")
    starts = [start["started"] for start in (record, *record.get("earlier", [])) if "started" in start]
    if file.date is None or not starts or min(map(datetime.fromisoformat, starts)) >= datetime.fromisoformat(file.date):
        return []
    return [f"it was trained before the baseline's last commit, of {file.date}: its scores could be behind the claims"]


def _format_run_key(key: RunKey) -> str:
    return f"{key[0]} seed={key[1]}"
