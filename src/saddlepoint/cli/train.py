"""saddlepoint train: trains the run that a config names, or goes on with it where it stopped."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from saddlepoint.experiment.train import train


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door."""
    train(config)
    return 0
