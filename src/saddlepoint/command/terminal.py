"""What a person reads at the end: lines, and one table of scores beside their anchors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from saddlepoint.command.output import WIDTH
from saddlepoint.command.table import Column, anchored, tables
from saddlepoint.metric.contract import Score
from saddlepoint.record.run import Run


def speaker(console: Console) -> Callable[[str], None]:
    """Prints a line as it stands: brackets are no markup, and a path is not broken."""
    return lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False)


class Meter:
    """A bar for a long pass before or between rounds: meter(what, done, of).  On a terminal only."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None

    def __call__(self, what: str, done: int, of: int) -> None:
        if not self.console.is_terminal:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
                console=self.console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task(what, total=of)
            self._bar.start()
        self._bar.update(self._task, description=what, completed=done, total=of)
        if done >= of:
            self._bar.stop()
            self._bar = None


def scores_of(run: Run, width: int = WIDTH) -> Iterator[str | Table]:
    """The scores of a finished run: untrained, final, best, and its anchors; nothing where it has none."""
    summary = run.summary
    every = _scores(summary.get("final") or {})
    if not every:
        return
    ruler = next(iter(every.values())).contract.extractor_sha256
    final = {key: score for key, score in every.items() if score.contract.extractor_sha256 == ruler}
    yield f"{run.folder.parent.name}, {summary['images']:,} images in {summary['seconds']:.0f} s"
    untrained = next((row for row in run.rows() if row["images"] == 0 and next(iter(final)) in row), {})
    best = {key: one["value"] for key, one in summary.get("best", {}).items()}
    along = {"untrained": untrained, "final": {key: score.value for key, score in final.items()}, "best": best}
    columns = [
        Column(name, _cells(values, final), "bold" if name == "final" else None)
        for name, values in along.items()
        if any(key in values for key in final)
    ]
    anchors = anchored(final, {name: _scores(own) for name, own in summary.get("anchors", {}).items()})
    closing = next(column for column in columns if column.heading == "final")
    yield from tables("score", list(final), [columns, [closing, *anchors] if anchors else []], width)
    notes = ["best: at the checkpoint that the validation split chose"] if best else []
    notes += ["beside them anchors: sets of images whose worth is known, measured alike"] if anchors else []
    if second := {key: score for key, score in every.items() if key not in final}:
        name = next(iter(second.values())).contract.extractor
        values = ", ".join(f"{score.contract.metric} {score.value:.4g}" for score in second.values())
        notes.append(f"by the second ruler, {name}: {values}")
    yield from notes


def _cells(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, str]:
    return {key: f"{value:.4g}" for key in keys if (value := values.get(key)) is not None}


def _scores(plain: Mapping[str, Any]) -> dict[str, Score]:
    return {key: Score.from_dict(score) for key, score in plain.items()}
