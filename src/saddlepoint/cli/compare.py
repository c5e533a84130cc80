"""saddlepoint compare: arms of runs over seeds, by one score under one contract, in tables, drawings and a report."""

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
    report_content,
    report_files,
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
    """What was compared: printed, and written to the folder `to`, to none for to=-.

    Raises Mistake for what cannot be compared.
    """
    say, output = line_printer(Console(stderr=True)), current_output()
    plain: Any = OmegaConf.to_container(config, resolve=True)
    words = {key: value for key, value in plain.items() if key not in ("logger", "to")}
    to = None if config.to == "-" else Path(config.to or f"outputs/comparison-{_digest(words)}")
    if to is not None:
        check_folder(destination.check_output_folder(to))
    session = _session(plain["logger"])
    found = build_comparison(load_records(words["runs"]), _asked(words))
    counted = arm_rows(found)
    whole = build_report(found, counted, words)
    output(terminal_page(whole, output.width), report_content(found, counted, whole))
    if to is not None:
        write_comparison(to, report_files(found, counted, whole))
        sheets = {
            sheet.title: (sheet.columns, [[cell.text for cell in row] for row in sheet.rows]) for sheet in whole.sheets
        }
        where = session.log_comparison(to, words, sheets, say)
        beside = ", ".join(sheet.title for sheet in whole.sheets if sheet.is_secondary)
        say(f"\nin report.html and table.md: {beside}")
        say(f"report.html, table.md, table.tex, table.csv, runs.csv and drawings: {to}\n{where}")
    return 0


def _asked(words: dict[str, Any]) -> ComparisonOptions:
    alike = ("metric", "baseline", "level", "reach", "higher_is_better", "factorial", "tuning")
    by = None if words["by"] is None else tuple(map(str, as_list(words["by"])))
    return ComparisonOptions(by, tuple(map(str, as_list(words["over"]))), **{name: words[name] for name in alike})


def _session(logger: dict[str, Any]) -> WandbSession:
    """The W&B account of the logger's settings, without Lightning, which takes longer to import than to compare."""
    given = validate_arguments(
        WandbSession, {key: value for key, value in logger.items() if key != "_target_"}, "logger"
    )
    return WandbSession(**{**given, "tags": tuple(given["tags"])})


def _digest(words: dict[str, Any]) -> str:
    """8 hex of what was asked."""
    return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()[:8]
