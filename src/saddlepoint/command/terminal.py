"""What a person reads at the end: lines, and one table of scores beside their anchors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from saddlepoint.command.table import alike
from saddlepoint.metric.contract import Score
from saddlepoint.record.run import Run


def speaker(console: Console) -> Callable[[str], None]:
    """Prints a line as it stands: brackets are no markup, and a path is not broken."""
    return lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False)


def show(parts: Iterable[str | Table], console: Console) -> None:
    """Print lines as they stand, and tables."""
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)


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


def scores_of(run: Run) -> Table | None:
    """The scores of a finished run: untrained, final, best, and its anchors; None where it has none."""
    summary = run.summary
    every = _scores(summary.get("final") or {})
    if not every:
        return None
    ruler = next(iter(every.values())).contract.extractor_sha256
    final = {key: score for key, score in every.items() if score.contract.extractor_sha256 == ruler}
    title = f"{run.folder.parent.name}, {summary['images']:,} images in {summary['seconds']:.0f} s"
    caption = "below the line: anchors, sets of images whose worth is known, measured alike"
    if second := {key: score for key, score in every.items() if key not in final}:
        name = next(iter(second.values())).contract.extractor
        values = ", ".join(f"{score.contract.metric} {score.value:.4g}" for score in second.values())
        caption += f"\nby the second ruler, {name}: {values}"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.add_column("", no_wrap=True)
    for key in final:
        table.add_column(_folded(key), justify="right")
    untrained = next((row for row in run.rows() if row["images"] == 0 and next(iter(final)) in row), None)
    if untrained:
        table.add_row("untrained", *_cells(untrained, final))
    table.add_row("final", *_cells({key: score.value for key, score in final.items()}, final), style="bold")
    table.add_row("best checkpoint", *_cells({key: b["value"] for key, b in summary.get("best", {}).items()}, final))
    table.add_section()
    anchors = {name: _scores(own) for name, own in summary.get("anchors", {}).items()}
    beside = {key: alike(anchors, score) for key, score in final.items()}
    for name in dict.fromkeys(name for own in beside.values() for name in own):
        values = {key: own[name].value for key, own in beside.items() if name in own}
        table.add_row(name, *_cells(values, final), style="dim")
    return table


def _cells(values: dict[str, Any], keys: Iterable[str]) -> list[str]:
    return ["" if (value := values.get(key)) is None else f"{value:.4g}" for key in keys]


def _scores(plain: dict[str, Any]) -> dict[str, Score]:
    return {key: Score.from_dict(score) for key, score in plain.items()}


def _folded(key: str) -> str:
    """A score's name on two lines, so that three fit a narrow terminal: the metric, then how it was measured."""
    for metric in ("inception_score", "fid", "coverage"):
        if key.startswith(metric + "_"):
            return f"{metric}\n{key.removeprefix(metric + '_')}"
    return key
