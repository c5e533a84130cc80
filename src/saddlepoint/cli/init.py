"""saddlepoint init: write a folder with a loss of your own, its config, an experiment and a test."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from saddlepoint.config import catalogue
from saddlepoint.console.output import current_output
from saddlepoint.error import Mistake
from saddlepoint.starter.write import write_starter


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Write the folder and print the next commands. Raises Mistake if it exists, or if the name is not free."""
    for group in ("objective", "experiment"):
        if config.name in catalogue.option_names(group):
            raise Mistake(f"name={config.name}: {group}={config.name} is built in; choose another name")
    to = Path(config.to).expanduser()
    paths = write_starter(to, config.name)
    lines = [f"  {path}" for path in paths]
    following = [f"  cd {to}", f"  export SADDLEPOINT_ALLOW_TARGET={config.name}", "  python -m pytest",
                 f"  saddlepoint train --config-dir conf objective={config.name} images=20_000"]  # fmt: skip
    current_output().print_result(
        ["written:", *lines, "", "next (README.md has more):", *following], {"folder": to, "files": paths}
    )
    return 0
