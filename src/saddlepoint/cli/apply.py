"""saddlepoint apply: repair, translate, colour or enlarge your own images with a run's generator."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unused_override
from saddlepoint.config.check import check
from saddlepoint.console.terminal import line_printer
from saddlepoint.experiment.apply import ApplyRequest, apply
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint apply`; `rest` overrides the run's config."""
    unused_override.check_overrides_used("apply", rest)
    log, run = line_printer(Console(stderr=True)), Run(config.run)
    run_config = check(load_run_config(run, rest, log, config_dir))
    request = ApplyRequest(*(config[name] for name in ApplyRequest._fields))
    apply(run, run_config, request, config.to, config.at, config.sample_seed, config.average, log)
    return 0
