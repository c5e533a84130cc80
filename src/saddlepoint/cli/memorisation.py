"""saddlepoint memorisation: test whether samples are copies of training images, compared with held-out images."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unused_override
from saddlepoint.config.compose import compose
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.error import Mistake
from saddlepoint.evaluation.memorisation_findings import findings_table
from saddlepoint.experiment.memorisation import Protocol, measure_memorisation
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint memorisation`; `rest` overrides the run's config."""
    unused_override.check_overrides_used("memorisation", rest, samples=config.samples is not None)
    console = Console(stderr=True)
    log = line_printer(console)
    if (config.run is None) == (config.samples is None):
        raise Mistake(
            "whose samples? run=<a run folder>, or samples=<a folder, zip, npz or npy> data=<its training data>"
        )
    if config.run is not None:
        source = Run(config.run)
        run_config = load_run_config(source, rest, log, config_dir)
    else:
        if config.at != "last" or not config.average:
            raise Mistake("samples=... are already drawn: at and average are for a run")
        if not any(override.startswith("data=") for override in rest):
            raise Mistake("samples are compared with data: add data=digits, or data=image_folder data.folder=...")
        source, run_config = config.samples, compose(rest, config_dir)
    protocol = Protocol(*(config[key] for key in Protocol._fields))
    result = measure_memorisation(source, run_config, rest, protocol, config.to, log, ProgressMeter(console))
    current_output().print_result([findings_table(f"{result.title}: memorisation", result.findings)], result.row)
    return 0
