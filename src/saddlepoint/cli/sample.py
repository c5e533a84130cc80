"""saddlepoint sample: draw samples from a run's generator to files of the data's modality: png, npz, wav, txt."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from saddlepoint.cli import unused_override
from saddlepoint.config.check import check
from saddlepoint.console.terminal import line_printer
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.experiment.sample import Request, write_samples
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint sample`; `rest` overrides the run's config."""
    unused_override.check_overrides_used("sample", rest)
    log, run = line_printer(Console(stderr=True)), Run(config.run)
    run_config = check(load_run_config(run, rest, log, config_dir))
    keys: Any = OmegaConf.to_container(config)
    request = Request(**{name: keys[name] for name in Request._fields})
    write_samples(run, run_config, request, config.to, config.at, config.sample_seed, config.average, log)
    return 0
