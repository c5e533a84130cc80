"""The config of a run, loaded from its folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from saddlepoint.config import config_file
from saddlepoint.config.check import check
from saddlepoint.config.compose import apply_overrides, register_resolvers
from saddlepoint.config.identity import compute_identity, describe_code_changes
from saddlepoint.config.path import resolve_paths
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run


def load_run_config(
    run: Run,
    overrides: Sequence[str] = (),
    log: Callable[[str], None] = lambda line: None,
    config_dir: str | Path | None = None,
) -> DictConfig:
    """Load the config of a run and apply `overrides`, which are logged.  Raises Mistake if the folder is not a run."""
    if not run.config.exists():
        raise Mistake(f"{run.folder} is not a run folder: it has no config.yaml{_format_runs_in(run.folder)}")
    register_resolvers()
    config = config_file.load_config(run.config)
    if "imported" in config:
        raise Mistake(f"{run.folder} was imported and has no game. Measure it again with saddlepoint import")
    resolve_paths(config)  # paths in the run of an earlier edition may be relative
    changed = describe_code_changes(config)
    if overrides:
        config = check(apply_overrides(config, overrides, config_dir))
    for override in overrides:
        log(f"override: {override}")
    if changed:
        log(f"{'; '.join(changed)} changed since this run was trained; the current code is used")
    return config


def assume_checked(config: DictConfig) -> CheckedConfig:
    """Return the config of a run folder as a Checked one: it was checked when the run started."""
    return config if isinstance(config, CheckedConfig) else CheckedConfig(config, compute_identity)


def _format_runs_in(folder: Path) -> str:
    """Format the runs in a folder of seeds or names as ". It contains run=<name>/seed0, ..."; "" if there are none."""
    runs = sorted(path.parent for prefix in ("*/", "*/*/") for path in folder.glob(f"{prefix}config.yaml"))
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return f". It contains run={', run='.join(map(str, runs[:3]))}{more}" if runs else ""
