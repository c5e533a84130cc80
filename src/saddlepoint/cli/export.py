"""saddlepoint export: a run's generator as files that others can run, each held against it, and a model card."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unread
from saddlepoint.config.compose import compose
from saddlepoint.console.output import show
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.error import Mistake
from saddlepoint.evaluation.memorisation_reading import table
from saddlepoint.experiment.memorisation import Protocol, memorisation
from saddlepoint.experiment.run_config import config_of
from saddlepoint.export import hub
from saddlepoint.export.export import export, known_formats
from saddlepoint.export.original import original
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door: 1 where a format was not written; `rest` overrides the run's own config."""
    unread.refuse("export", rest)
    console, run = Console(stderr=True), Run(config.run)
    log = speaker(console)
    formats = known_formats(config.formats)
    if config.hub is not None:
        hub.named(str(config.hub))
        hub.library()
    made = original(run, config.at, config.average, config.to, rest, config_dir, log)
    if config.memorisation:
        _measure_memorisation(config, rest, config_dir, console)
    written, failed = export(made, formats, config.licence)
    for name, own in written.items():
        far = f"{own['difference']:.2g} on {len(made.expected):,} samples"
        log(f"{name}: {made.to / own['file']}, largest difference {far}")
    for name, why in failed.items():
        log(f"{name}: NOT written: {why}")
    log(f"{run.folder}, {made.game.images:,} images: {made.to} (README.md is its model card)")
    if config.hub is not None:
        if failed:
            raise Mistake(f"not pushed: {', '.join(failed)} could not be written. What could lies in {made.to}")
        log(f"pushed: {hub.push(made.to, config.hub)}")
    return 1 if failed else 0


def _measure_memorisation(config: DictConfig, rest: Sequence[str], config_dir: str | None, console: Console) -> None:
    """Measure memorisation now; what keeps it from being measured is said, and is no reason not to export."""
    words = [f"run={config.run}", f"at={config.at}", f"average={str(config.average).lower()}"]
    log, run = speaker(console), Run(config.run)
    try:
        asked = compose(words, command="memorisation")
        protocol = Protocol(*(asked[key] for key in Protocol._fields))
        own = config_of(run, rest, log, config_dir)
        found = memorisation(run, own, rest, protocol, None, log, Meter(console))
    except Mistake as mistake:
        log(f"memorisation is not measured: {mistake}")
    else:
        show([table(f"{found.title}: memorisation", found.readings)], console)
