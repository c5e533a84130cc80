"""A config on its way to a process of its own: written beside the folder of its run, and the command that reads it."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from saddlepoint.config import allow_list, config_file
from saddlepoint.run.folder import write


def process(file: Path, config: DictConfig) -> list[str]:
    """What to start for a process that trains `config`, which `freeze` has written to `file`."""
    return [sys.executable, "-m", "saddlepoint.cli.job", str(file), *allow_list.words(config)]


def freeze(file: Path, config: DictConfig) -> None:
    """Write a config where a process is to read it, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, config_file.text(config))
