"""python -m saddlepoint.command.job <config.yaml>: one of many runs, from a config that was composed before."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from saddlepoint.command import told
from saddlepoint.command.compose import register_resolvers


def frozen(path: str) -> int:
    """Train the run of a frozen config; the exit code, as of `saddlepoint train`."""
    from saddlepoint.command.train import train

    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for a researcher's own pieces
    register_resolvers()
    config = OmegaConf.load(Path(path))
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)
    train(config)
    return 0


if __name__ == "__main__":
    sys.exit(told(lambda: frozen(sys.argv[1])))
