"""A run's own config, read from its folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from saddlepoint.config import config_file
from saddlepoint.config.check import check
from saddlepoint.config.compose import apply_overrides, register_resolvers
from saddlepoint.config.identity import code_changes, identity
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
    """A run's own config, with `overrides` on top, which `say` hears.  Raises Mistake where the folder is no run."""
    if not run.config.exists():
        raise Mistake(f"{run.folder} is no run folder: it has no config.yaml{_runs_within(run.folder)}")
    register_resolvers()
    config = config_file.load_config(run.config)
    if "imported" in config:
        raise Mistake(f"{run.folder} was imported: there is no game in it. Measure it again with saddlepoint import")
    resolve_paths(config)  # of an earlier edition's run they may be relative
    changed = code_changes(config)
    if overrides:
        config = check(apply_overrides(config, overrides, config_dir))
    for override in overrides:
        log(f"override: {override}")
    if changed:
        log(f"{'; '.join(changed)} changed since this run was trained: what follows is by the code of now")
    return config


def as_checked(config: DictConfig) -> CheckedConfig:
    """The config of a run's folder as it was checked when the run was begun."""
    return config if isinstance(config, CheckedConfig) else CheckedConfig(config, identity)


def _runs_within(folder: Path) -> str:
    """ ". In it are run=<name>/seed0, ...": the runs in a folder of seeds, or of names; "" where there is none."""
    found = sorted(path.parent for way in ("*/", "*/*/") for path in folder.glob(f"{way}config.yaml"))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f". In it there {'is' if len(found) == 1 else 'are'} run={', run='.join(map(str, found[:3]))}{more}"
        if found
        else ""
    )
