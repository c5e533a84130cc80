"""saddlepoint apply: repair, translate, colour or enlarge your own images with a run's generator."""

from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unused_override
from saddlepoint.comparison.report.markup import to_html
from saddlepoint.comparison.report.sheet import Picture, Report, Sheet, number_cell
from saddlepoint.config.check import check
from saddlepoint.console.terminal import line_printer
from saddlepoint.experiment.apply import Applied, ApplyRequest, apply
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run.folder import Run, write_file


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint apply`; `rest` overrides the run's config."""
    unused_override.check_overrides_used("apply", rest)
    log, run = line_printer(Console(stderr=True)), Run(config.run)
    run_config = check(load_run_config(run, rest, log, config_dir))
    request = ApplyRequest(*(config[name] for name in ApplyRequest._fields))
    applied = apply(run, run_config, request, config.to, config.at, config.sample_seed, config.average, log)
    if applied is None:
        return 0
    page = applied.sheet.with_suffix(".html")
    write_file(page, to_html(_report(applied, config.to)))
    log(f"{config.to}; {', '.join(applied.columns)}: {applied.sheet}, {page}")
    return 0


def _report(applied: Applied, to: str) -> Report:
    """Return the sheet and the scores as a report."""
    scores = {name: [number_cell(value)] for name, value in applied.scores.items()}
    return Report(
        title=to,
        overview=(),
        sheets=(Sheet.from_columns("Distance from the truth", scores),) if scores else (),
        pictures=(Picture("sheet", ", ".join(applied.columns).capitalize(), applied.sheet.read_bytes()),),
        differences=Sheet("", (), ()),
        details={"facts": applied.facts},
    )
