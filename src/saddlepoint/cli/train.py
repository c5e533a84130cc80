"""saddlepoint train: trains the run that a config names, or goes on with it where it stopped.

python -m saddlepoint.cli.train <config.yaml> [allow_target=[...]] [--json] trains the run of a config composed before.
"""

import os
import sys
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from saddlepoint.cli import run_and_report
from saddlepoint.config import allow_list, config_file
from saddlepoint.config.compose import parse_value, register_resolvers
from saddlepoint.console.output import Output
from saddlepoint.console.standard_streams import ensure_utf8, run_ignoring_write_errors
from saddlepoint.experiment.train import train


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door."""
    train(config)
    return 0


def train_config_file(path: str, words: Sequence[str] = ()) -> int:
    """Train the run of a frozen config; the exit code, as of `saddlepoint train`.  Raises Mistake.

    What the file says of `allow_target` is not heard; what `words` say is.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for a researcher's own pieces
    register_resolvers()
    config = config_file.load_config(path)
    for word in words:
        if word != "--json":
            allow_list.grant(config, parse_value(word))
    OmegaConf.set_struct(config, True)
    with Output("--json" in words).activate():
        train(config)
    return 0


if __name__ == "__main__":
    ensure_utf8()
    sys.exit(
        run_and_report(
            lambda: run_ignoring_write_errors(lambda: train_config_file(sys.argv[1], sys.argv[2:])), sys.argv[2:]
        )
    )
