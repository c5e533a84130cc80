"""saddlepoint sweep: searches the settings that a sweep file names, by a score on the validation split.

saddlepoint sweep sweep=digits
saddlepoint sweep sweep=digits trials=60 workers=2
"""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.config import catalogue
from saddlepoint.console.output import result
from saddlepoint.error import Mistake
from saddlepoint.sweep import sweep_file
from saddlepoint.sweep.sweep import sweep


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """0 where a trial finished, 1 where none did."""
    own = catalogue.folder_of(config_dir)
    if config.sweep is None:
        raise Mistake(f"which sweep? sweep=<name>; there are: {', '.join(catalogue.members('sweep', own))}")
    lines, document = sweep(sweep_file.plan(config, rest, own), config, config_dir, Console(stderr=True))
    result()(lines, document)
    return 1 if document["best"] is None else 0
