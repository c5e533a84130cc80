"""saddlepoint memorisation: are samples copies of training images?  Each statistic beside that of fresh images."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unread
from saddlepoint.config.compose import compose
from saddlepoint.console.output import result
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.error import Mistake
from saddlepoint.evaluation.memorisation_reading import table
from saddlepoint.experiment.memorisation import Protocol, memorisation
from saddlepoint.experiment.run_config import config_of
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("memorisation", rest, samples=config.samples is not None)
    console = Console(stderr=True)
    log = speaker(console)
    if (config.run is None) == (config.samples is None):
        raise Mistake(
            "whose samples? run=<a run folder>, or samples=<a folder, zip, npz or npy> data=<what it was made of>"
        )
    if config.run is not None:
        source = Run(config.run)
        own = config_of(source, rest, log, config_dir)
    else:
        if config.at != "last" or not config.average:
            raise Mistake("samples=... are as they are: at and average are for a run")
        if not any(word.startswith("data=") for word in rest):
            raise Mistake("samples are held against data: add data=digits, or data=image_folder data.folder=...")
        source, own = config.samples, compose(rest, config_dir)
    protocol = Protocol(*(config[key] for key in Protocol._fields))
    found = memorisation(source, own, rest, protocol, config.to, log, Meter(console))
    result()([table(f"{found.title}: memorisation", found.readings)], found.row)
    return 0
