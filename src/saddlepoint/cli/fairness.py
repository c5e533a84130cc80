"""saddlepoint fairness: how often a run's generator makes each group of the data, and how much of it it covers."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.analysis.fairness import FairnessProtocol, fairness_table, measure_fairness
from saddlepoint.cli import unused_override
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint fairness`; `rest` overrides the run's config."""
    unused_override.check_overrides_used("fairness", rest)
    console = Console(stderr=True)
    log, run = line_printer(console), Run(config.run)
    run_config = load_run_config(run, rest, log, config_dir)
    protocol = FairnessProtocol(*(config[key] for key in FairnessProtocol._fields))
    result = measure_fairness(run, run_config, rest, protocol, config.to, log, ProgressMeter(console))
    current_output().print_result([fairness_table(result)], result.row)
    return 0
