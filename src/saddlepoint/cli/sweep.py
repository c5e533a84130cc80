"""saddlepoint sweep: search the settings of a sweep file by a score on the validation split.

saddlepoint sweep sweep=digits
saddlepoint sweep sweep=digits trials=60 workers=2
"""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.config import catalogue
from saddlepoint.console.output import current_output
from saddlepoint.error import Mistake
from saddlepoint.sweep import sweep_file
from saddlepoint.sweep.sweep import run_sweep


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint sweep`. Return 0 if a trial finished, else 1."""
    user_conf = catalogue.resolve_config_dir(config_dir)
    if config.sweep is None:
        raise Mistake(f"which sweep? sweep=<name>; there are: {', '.join(catalogue.option_names('sweep', user_conf))}")
    lines, document = run_sweep(sweep_file.load_plan(config, rest, user_conf), config, config_dir, Console(stderr=True))
    current_output().print_result(lines, document)
    return 1 if document["best"] is None else 0
