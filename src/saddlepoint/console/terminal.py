"""What a person reads at the end: lines, and one table of scores beside their anchors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from saddlepoint.console.duration import duration
from saddlepoint.console.output import WIDTH
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.table import Column, anchored, tables
from saddlepoint.run.folder import Run

SECONDS = 20.0  # between two lines of a long pass


def speaker(console: Console) -> Callable[[str], None]:
    """Prints a line as it stands: brackets are no markup, and a path is not broken."""
    return lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False)


class Meter:
    """How far a long pass before or between rounds is: meter(what, done, of), with its rate and the time left.

    On a terminal a bar; elsewhere a line every `SECONDS`, none for a pass that is over sooner.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._pass: tuple[str, int, float] = "", 0, 0.0  # what, how many were done when it was first seen, and when
        self._printed = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        if not self.console.is_terminal:
            self._line(what, done, of)
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
                console=self.console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task(what, total=of)
            self._bar.start()
        self._bar.update(self._task, description=what, completed=done, total=of)
        if done >= of:
            self._bar.stop()
            self._bar = None

    def _line(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if what != self._pass[0] or done < self._pass[1]:
            self._pass, self._printed = (what, done, now), now
        if done >= of or now - self._printed < SECONDS:
            return
        self._printed = now
        _, first, since = self._pass
        rate = (done - first) / (now - since)
        pace = f"{rate:,.3g}/s, {duration((of - done) / rate)} left" if rate else f"{duration(now - since)} so far"
        count = "" if of == 1 else f": {done:,} of {of:,}"
        speaker(self.console)(f"{what}{count}, {pace}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.3g}/s" if task.speed else "")


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
