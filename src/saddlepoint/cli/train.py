"""saddlepoint train: train the run of a config, or resume it.

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
from saddlepoint.console.standard_streams import restart_in_utf8_mode, run_ignoring_write_errors
from saddlepoint.experiment.train import train


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint train`."""
    train(config)
    return 0


def train_config_file(path: str, arguments: Sequence[str] = ()) -> int:
    """Train the run of a config file; return the exit code, as `saddlepoint train`. Raises Mistake.

    `allow_target` counts in `arguments`, but not in the file.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for user-defined modules
    register_resolvers()
    config = config_file.load_config(path)
    for argument in arguments:
        if argument != "--json":
            allow_list.allow_names(config, parse_value(argument))
    OmegaConf.set_struct(config, True)
    with Output("--json" in arguments).as_current():
        train(config)
    return 0


if __name__ == "__main__":
    restart_in_utf8_mode()
    sys.exit(
        run_and_report(
            lambda: run_ignoring_write_errors(lambda: train_config_file(sys.argv[1], sys.argv[2:])), sys.argv[2:]
        )
    )
