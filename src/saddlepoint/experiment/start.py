"""Where a training starts: a fresh folder, the last checkpoint, or nowhere, since the run is finished."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config.identity import (
    allowed,
    by_other_code,
    code_changes,
    code_of,
    differences,
    identity,
)
from saddlepoint.error import Mistake
from saddlepoint.experiment.run_config import config_of
from saddlepoint.run.folder import Run

ANOTHER_OPTIMIZER = re.compile(r"optimizer\.\w+\._target_:")


def start_of(run: Run, config: DictConfig, say: Callable[[str], None]) -> str:
    """fresh, resume, overwrite or finished: what the folder holds, and whether this config may go on with it."""
    if not run.folder.exists() or all(path.name.startswith(".") for path in run.folder.iterdir()):
        for folder in by_other_code(config, config.name)[:1]:
            changed = "; ".join(code_changes(config_of(Run(folder))))
            say(f"another run than {folder}, by other code: {changed}. resume.allow=[code] goes on with that one")
        return "fresh"  # a dot-file is what a crash left of a first write
    if not run.config.exists():
        raise Mistake(f"{run.folder} is not empty and is no run; give this run another name=... or outputs=...")
    if config.overwrite:
        return "overwrite"
    old = config_of(run)
    if identity(old) != config.identity:
        changed, may_differ = differences(old, config), allowed(config)
        if code_of(config) and not code_of(old):
            say(f"begun when no code of one's own was put on record; now it is: {', '.join(code_of(config))}")
            may_differ = [*may_differ, "code"]
        if (other := differences(old, config, may_differ)) and all(line.startswith("code.") for line in other):
            raise Mistake(
                f"{run.folder} was trained by other code: {'; '.join(code_changes(old))}. That is another run: give it "
                "a name=... of its own, or go on by the code of now: resume.allow=[code]"
            )
        if other:
            raise Mistake(
                f"{run.folder} holds another run: {'; '.join(other[:3])}. Give this one a name=... of its own, "
                "overwrite=true to move the old one aside, or resume.allow=[...] with the keys that may change"
            )
        if another := next((line for line in changed if ANOTHER_OPTIMIZER.match(line)), None):
            raise Mistake(
                f"{run.folder}: {another}. What one optimizer remembers is nothing to another, so no resume.allow lets "
                "it change: give this run a name=... of its own"
            )
        say(f"going on with another game than before, as resume.allow says: {'; '.join(changed)}")
    if config.images < old.images and run.summary.get("status") == "finished":
        raise Mistake(f"{run.folder} is finished at images={old.images:,}; it cannot end earlier, at {config.images:,}")
    if config.images == old.images and run.summary.get("status") == "finished":
        say(f"this run is finished; overwrite=true trains it again, a larger images=... goes on: {run.folder}")
        return "finished"
    if config.images != old.images and "images" not in allowed(config) and (key := _leans_on_images(config)):
        raise Mistake(
            f"images={config.images:,} where the run had {old.images:,}, and {key} depends on images, so this is not "
            "the same run gone on with. resume.allow=[images] does it all the same"
        )
    return "resume"


def _leans_on_images(config: DictConfig) -> str | None:
    """The first key whose value interpolates the run's length, None where nothing does."""

    def walk(node: Any, path: str) -> str | None:
        if isinstance(node, dict | list):
            parts = node.items() if isinstance(node, dict) else enumerate(node)
            return next((hit for key, value in parts if (hit := walk(value, f"{path}.{key}".lstrip(".")))), None)
        return path if node == "${images}" else None

    return walk(OmegaConf.to_container(config), "")
