"""saddlepoint directions: directions of a generator's latent, a sheet of traversals, and what each of them changes."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from saddlepoint.analysis.directions import DirectionRequest, analyse_directions
from saddlepoint.cli import unused_override
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint directions`; `rest` overrides the run's config."""
    unused_override.check_overrides_used("directions", rest)
    console = Console(stderr=True)
    log, run = line_printer(console), Run(config.run)
    run_config = load_run_config(run, rest, log, config_dir)
    keys: Any = OmegaConf.to_container(config)
    request = DirectionRequest(**{name: keys[name] for name in DirectionRequest._fields})
    result = analyse_directions(run, run_config, rest, request, config.at, config.to, log, ProgressMeter(console))
    current_output().print_result(result.tables, result.row)
    return 0
