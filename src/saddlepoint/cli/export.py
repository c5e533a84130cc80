"""saddlepoint export: write a run's generator as files that others can run, each compared with it, and a model card."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unused_override
from saddlepoint.config.compose import compose
from saddlepoint.console.output import print_parts
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.error import Mistake
from saddlepoint.evaluation.memorisation_findings import findings_table
from saddlepoint.experiment.memorisation import Protocol, measure_memorisation
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.export import hub
from saddlepoint.export.export import export, parse_formats
from saddlepoint.export.original import build_original
from saddlepoint.run.folder import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint export`. Return 1 if a format was not written. `rest` overrides the run's config."""
    unused_override.check_overrides_used("export", rest)
    console, run = Console(stderr=True), Run(config.run)
    log = line_printer(console)
    formats = parse_formats(config.formats)
    if config.hub is not None:
        hub.check_repository_name(str(config.hub))
        hub.import_hub()
    original = build_original(run, config.at, config.average, config.to, rest, config_dir, log)
    if config.memorisation:
        _measure_memorisation(config, rest, config_dir, console)
    written, failed = export(original, formats, config.licence)
    for name, file in written.items():
        difference = f"{file['difference']:.2g} on {len(original.expected):,} samples"
        log(f"{name}: {original.folder / file['file']}, largest difference {difference}")
    for name, reason in failed.items():
        log(f"{name}: NOT written: {reason}")
    log(f"{run.folder}, {original.game.images:,} images: {original.folder} (README.md is its model card)")
    if config.hub is not None:
        if failed:
            raise Mistake(
                f"not pushed: {', '.join(failed)} could not be written. The other files are in {original.folder}"
            )
        log(f"pushed: {hub.push(original.folder, config.hub)}")
    return 1 if failed else 0


def _measure_memorisation(config: DictConfig, rest: Sequence[str], config_dir: str | None, console: Console) -> None:
    """Measure memorisation; log an error, which does not stop the export."""
    overrides = [f"run={config.run}", f"at={config.at}", f"average={str(config.average).lower()}"]
    log, run = line_printer(console), Run(config.run)
    try:
        settings = compose(overrides, command="memorisation")
        protocol = Protocol(*(settings[key] for key in Protocol._fields))
        run_config = load_run_config(run, rest, log, config_dir)
        result = measure_memorisation(run, run_config, rest, protocol, None, log, ProgressMeter(console))
    except Mistake as mistake:
        log(f"memorisation is not measured: {mistake}")
    else:
        print_parts([findings_table(f"{result.title}: memorisation", result.findings)], console)
