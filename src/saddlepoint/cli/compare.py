"""saddlepoint compare: compare arms of runs over seeds by one score under one contract; tables, plots and a report."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from saddlepoint.comparison.arms.comparison import ComparisonOptions, as_list, build_comparison
from saddlepoint.comparison.arms.record import load_records
from saddlepoint.comparison.report.build_report import (
    build_report,
    check_folder,
    report_file_contents,
    report_to_plain,
    write_comparison,
)
from saddlepoint.comparison.report.table import arm_rows
from saddlepoint.comparison.report.terminal_page import terminal_page
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import line_printer
from saddlepoint.run import destination
from saddlepoint.run.tracking.wandb_session import WandbSession
from saddlepoint.schema import validate_arguments


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Print the comparison and write it to the folder `to`, unless to=-. Raises Mistake for runs without comparison."""
    log, output = line_printer(Console(stderr=True)), current_output()
    settings: Any = OmegaConf.to_container(config, resolve=True)
    options = {key: value for key, value in settings.items() if key not in ("logger", "to")}
    for key in ("against", "scores"):
        if options[key] is None:
            del options[key]  # added later: reports without it keep their folder
    to = None if config.to == "-" else Path(config.to or f"outputs/comparison-{_hash_options(options)}")
    if to is not None:
        check_folder(destination.check_output_folder(to))
    session = _wandb_session(settings["logger"])
    comparison = build_comparison(load_records(options["runs"]), _comparison_options(options))
    rows = arm_rows(comparison)
    report = build_report(comparison, rows, options)
    output.print_result(terminal_page(report, output.width), report_to_plain(comparison, rows, report))
    if to is not None:
        write_comparison(to, report_file_contents(comparison, rows, report))
        sheets = {
            sheet.title: (sheet.columns, [[cell.text for cell in row] for row in sheet.rows]) for sheet in report.sheets
        }
        location = session.log_comparison(to, options, sheets, log)
        secondary = ", ".join(sheet.title for sheet in report.sheets if sheet.is_secondary)
        log(f"\nin report.html and table.md: {secondary}")
        log(f"report.html, table.md, table.tex, table.csv, runs.csv and plots: {to}\n{location}")
    return 0


def _comparison_options(options: dict[str, Any]) -> ComparisonOptions:
    unchanged = ("metric", "baseline", "level", "reach", "higher_is_better", "factorial", "tuning", "against")
    by = None if options["by"] is None else tuple(map(str, as_list(options["by"])))
    return ComparisonOptions(
        by,
        tuple(map(str, as_list(options["over"]))),
        scores=tuple(map(str, as_list(options.get("scores")))),
        **{name: options[name] for name in unchanged if name in options},
    )


def _wandb_session(logger: dict[str, Any]) -> WandbSession:
    """Build the W&B session of the logger's settings without Lightning, whose import is slow."""
    arguments = validate_arguments(
        WandbSession, {key: value for key, value in logger.items() if key != "_target_"}, "logger"
    )
    return WandbSession(**{**arguments, "tags": tuple(arguments["tags"])})


def _hash_options(options: dict[str, Any]) -> str:
    """Return 8 hex digits of the hash of the options."""
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:8]
