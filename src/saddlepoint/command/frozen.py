"""A config on its way to a process of its own: written beside the folder of its run, and the command that reads it."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from saddlepoint.command import permission, stored
from saddlepoint.record.run import Run, write


def process(run: Run, config: DictConfig) -> list[str]:
    """What to start for a process that trains `config`, which is frozen beside the folder of its run."""
    file = run.folder.with_name(f".{run.folder.name}.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, stored.text(config))
    return [sys.executable, "-m", "saddlepoint.command.job", str(file), *permission.words(config)]
