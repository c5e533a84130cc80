"""saddlepoint compare: arms of runs over seeds, by one score under one contract, in tables, drawings and a report."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from saddlepoint.comparison.arms.comparison import Asked, comparison, listed
from saddlepoint.comparison.arms.reading import read
from saddlepoint.comparison.report.console import page
from saddlepoint.comparison.report.table import lines
from saddlepoint.comparison.report.whole import content, files, place, report, written
from saddlepoint.console.output import result
from saddlepoint.console.terminal import speaker
from saddlepoint.run import destination
from saddlepoint.run.tracking.session import Session
from saddlepoint.schema import arguments


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """What was compared: printed, and written to the folder `to`, to none for to=-.

    Raises Mistake for what cannot be compared.
    """
    say, output = speaker(Console(stderr=True)), result()
    plain: Any = OmegaConf.to_container(config, resolve=True)
    words = {key: value for key, value in plain.items() if key not in ("logger", "to")}
    to = None if config.to == "-" else Path(config.to or f"outputs/comparison-{_digest(words)}")
    if to is not None:
        place(destination.folder(to))
    session = _session(plain["logger"])
    found = comparison(read(words["runs"]), _asked(words))
    counted = lines(found)
    whole = report(found, counted, words)
    output(page(whole, output.width), content(found, counted, whole))
    if to is not None:
        written(to, files(found, counted, whole))
        sheets = {
            sheet.title: (sheet.columns, [[cell.text for cell in row] for row in sheet.rows]) for sheet in whole.sheets
        }
        where = session.report(to, words, sheets, say)
        beside = ", ".join(sheet.title for sheet in whole.sheets if sheet.beside)
        say(f"\nin report.html and table.md: {beside}")
        say(f"report.html, table.md, table.tex, table.csv, runs.csv and drawings: {to}\n{where}")
    return 0


def _asked(words: dict[str, Any]) -> Asked:
    alike = ("metric", "baseline", "level", "reach", "higher_is_better", "factorial", "tuning")
    by = None if words["by"] is None else tuple(map(str, listed(words["by"])))
    return Asked(by, tuple(map(str, listed(words["over"]))), **{name: words[name] for name in alike})


def _session(logger: dict[str, Any]) -> Session:
    """The W&B account of the logger's settings, without Lightning, which takes longer to import than to compare."""
    given = arguments(Session, {key: value for key, value in logger.items() if key != "_target_"}, "logger")
    return Session(**{**given, "tags": tuple(given["tags"])})


def _digest(words: dict[str, Any]) -> str:
    """8 hex of what was asked."""
    return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()[:8]
