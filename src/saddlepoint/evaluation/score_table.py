"""Scores as tables for people: one set measured, a run over its snapshots, what stands behind a score."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from saddlepoint.console.output import WIDTH
from saddlepoint.evaluation.contract import Score, Uncertainty
from saddlepoint.run.folder import Run

REMAINING = "the runs' own difference"
PARTS = "± over its parts"
NAMES = {"real": "held-out reals"}
ERRORS = {
    "generations": "± fresh generation",
    "mean": "mean of generations",
    "reals": "± other reals",
    "fakes": "± other samples",
}
Scores = Mapping[str, Score]

LETTERS = 9  # of a line of a heading
LONGEST = 46  # letters of the first column


class Column(NamedTuple):
    """One column of a table: its heading, over several lines where it holds line breaks, and a cell per row."""

    heading: str
    cells: Mapping[str, str]
    style: str | None = None

    @property
    def width(self) -> int:
        """Characters of its longest line."""
        return max(map(_width, (self.heading, *self.cells.values())))


def score_tables(
    title: str,
    found: Scores,
    anchors: Mapping[str, Scores],
    spread: Mapping[str, Uncertainty] | None = None,
    width: int = WIDTH,
) -> Iterator[str | Table]:
    """A table per extractor, one row per score: its value, its errors where they were measured, its anchors."""
    yield title
    for ruler, own in group_by_extractor(found).items():
        parts = {key: f"{score.std:.2g}" for key, score in own.items() if score.std is not None}
        errors = {
            told: {
                key: f"{error:.2g}" if "±" in told else f"{error:.4g}"
                for key in own
                if (error := getattr((spread or {}).get(key, Uncertainty()), name)) is not None
            }
            for name, told in ERRORS.items()
        }
        values = [Column("value", _values(own), "bold")]
        values += [Column(name, cells) for name, cells in {PARTS: parts, **errors}.items() if cells]
        yield f"\n{ruler}"
        yield from fit_tables("score", list(own), [values, [values[0], *anchor_columns(own, anchors)]], width)
        yield from _settings(own)


def snapshot_tables(
    title: str, found: Mapping[str, Scores], anchors: Mapping[str, Scores], width: int = WIDTH
) -> Iterator[str | Table]:
    """A table per extractor: one row per moment, by images, and below them the anchors; one column per score."""
    yield title
    every = {key: score for scores in found.values() for key, score in scores.items()}
    for ruler, own in group_by_extractor(every).items():
        moments = {f"{int(images):,} images": _values(scores) for images, scores in found.items()}
        below = {one.heading: one.cells for one in anchor_columns(own, anchors)}
        rows = {**moments, **below}
        columns = [Column(key, {name: cells[key] for name, cells in rows.items() if key in cells}) for key in own]
        yield f"\n{ruler}"
        yield from fit_tables("", list(moments), [columns], width, list(below))
        yield from _settings(own)


def run_score_tables(run: Run, width: int = WIDTH) -> Iterator[str | Table]:
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
    cells = {
        name: {key: f"{values[key]:.4g}" for key in final if values.get(key) is not None}
        for name, values in along.items()
    }
    columns = [Column(name, own, "bold" if name == "final" else None) for name, own in cells.items() if own]
    anchors = anchor_columns(final, {name: _scores(own) for name, own in summary.get("anchors", {}).items()})
    beside = [Column("final", cells["final"], "bold"), *anchors] if anchors else []
    yield from fit_tables("score", list(final), [columns, beside], width)
    notes = ["best: at the checkpoint that the validation split chose"] if best else []
    notes += ["beside them anchors: sets of images whose worth is known, measured alike"] if anchors else []
    if second := {key: score for key, score in every.items() if key not in final}:
        name = next(iter(second.values())).contract.extractor
        values = ", ".join(f"{score.contract.metric} {score.value:.4g}" for score in second.values())
        notes.append(f"by the second ruler, {name}: {values}")
    yield from notes


def _values(found: Scores) -> dict[str, str]:
    return {key: f"{score.value:.4g}" for key, score in found.items()}


def _scores(plain: Mapping[str, Any]) -> dict[str, Score]:
    return {key: Score.from_dict(score) for key, score in plain.items()}


def protocol_step_tables(
    steps: Sequence[tuple[str, Mapping[str, float]]], difference: Mapping[str, float], width: int = WIDTH
) -> Iterator[str | Table]:
    """One row per measurement of two runs, a and b: its scores by metric, and how far they are from a's own.

    Below them the `difference` that is left between the two under one protocol.
    """
    first = steps[0][1]
    cells: dict[str, dict[str, str]] = {metric: {} for metric in first}
    for told, found in steps:
        for metric in first.keys() & found.keys():
            moved = "" if found is first else f" ({found[metric] - first[metric]:+.3g})"
            cells[metric][told] = f"{found[metric]:.4g}{moved}"
    for metric, left in difference.items():
        cells[metric][REMAINING] = f"{left:+.4g}"
    columns = [Column(metric, cells[metric]) for metric in first]
    yield from fit_tables("what moved the score", [told for told, _ in steps], [columns], width, [REMAINING])


def anchor_columns(found: Scores, anchors: Mapping[str, Scores]) -> list[Column]:
    """A column per anchor: its scores by the same metrics."""
    beside = {key: matching_anchor_scores(anchors, score) for key, score in found.items()}
    names = dict.fromkeys(name for own in beside.values() for name in own)
    return [
        Column(name, _values({key: own[name] for key, own in beside.items() if name in own}), "dim") for name in names
    ]


def fit_tables(
    heading: str,
    rows: Sequence[str],
    groups: Sequence[Sequence[Column]],
    width: int = WIDTH,
    below: Sequence[str] = (),
) -> Iterator[str | Table]:
    """One table of all groups of columns where it fits `width`, else one per group; nothing of it is cut.

    `rows` are named in the first column, those of `below` under a line. Names stand on one line, except in a table that
    they would make one more; headings where all fit one table.
    """
    names = (heading, *rows, *below)
    shown = whole = {name: name for name in names}
    longest = max(map(_width, names))
    parts = _parts(longest, groups, width)
    if len(parts) > sum(map(bool, groups)):
        shown = {name: _halved(name) for name in names}
        parts = _parts(max(map(_width, shown.values())), groups, width)
    for i, (columns, gap) in enumerate(parts):
        if i:
            yield ""
        yield _table_of(whole if _fits(longest, columns, gap, width) else shown, (heading, rows, below), columns, gap)


def _parts(first: int, groups: Sequence[Sequence[Column]], width: int) -> list[tuple[list[Column], int]]:
    """The columns of each table beside a first one of so many characters, and the blanks between them."""
    narrow = [[column._replace(heading=fold_heading(column.heading)) for column in group] for group in groups]
    for several, gap in ((groups, 2), (narrow, 2), (narrow, 1)):
        whole = list({column.heading: column for group in several for column in group}.values())  # one may be of two
        if _fits(first, whole, gap, width):
            return [(whole, gap)]
    parts: list[tuple[list[Column], int]] = []
    for group in narrow:
        gap = 2 if _fits(first, group, 2, width) else 1
        part: list[Column] = []
        for column in group:
            if part and not _fits(first, [*part, column], gap, width):
                parts.append((part, gap))
                part = []
            part.append(column)
        parts += [(part, gap)] if part else []
    return parts


def _fits(first: int, columns: Sequence[Column], gap: int, width: int) -> bool:
    return first + sum(gap + column.width for column in columns) <= width


def _table_of(
    shown: Mapping[str, str], names: tuple[str, Sequence[str], Sequence[str]], columns: Sequence[Column], gap: int
) -> Table:
    heading, rows, below = names
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1), collapse_padding=True, pad_edge=False, show_edge=False)
    table.add_column(shown[heading], vertical="bottom", overflow="fold", width=max(map(_width, shown.values())))
    for column in columns:
        table.add_column(
            column.heading, justify="right", vertical="bottom", no_wrap=True, style=column.style, min_width=column.width
        )
    for name in rows:
        table.add_row(shown[name], *(column.cells.get(name, "") for column in columns))
    table.add_section()
    for name in below:
        table.add_row(shown[name], *(column.cells.get(name, "") for column in columns), style="dim")
    return table


def _width(text: str) -> int:
    """Characters of the longest line of a text, which is folded where it is longer than any name."""
    return min(max(map(len, text.split("\n"))), LONGEST)


def _halved(name: str) -> str:
    """A score's name over two lines, broken behind the underscore that is nearest to its middle."""
    places = [i + 1 for i, sign in enumerate(name) if sign == "_"]
    middle = min(places, key=lambda place: max(place, len(name) - place), default=len(name))
    return f"{name[:middle]}\n{name[middle:]}".rstrip("\n")


def fold_heading(text: str) -> str:
    """A heading over lines of about nine letters, broken behind blanks and underscores: nothing of it is left out."""
    lines = [""]
    for word in re.findall(r"[^ _]*[ _]?", text):
        if lines[-1] and len((lines[-1] + word).rstrip()) > LETTERS:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def group_by_extractor(found: Scores) -> dict[str, dict[str, Score]]:
    """The scores in groups of one extractor, fakes and reals, under a line that says what was measured by what."""
    groups: dict[str, dict[str, Score]] = {}
    for key, score in found.items():
        c = score.contract
        whose = "samples" if c.weights == "none" else f"samples of {c.weights} weights"
        resizer = "" if c.resizer == "none" else f", {c.resizer}"
        norm = "" if c.batch_norm in ("running", "none") else f", batch norm: {c.batch_norm}"
        altered = f", altered: {c.altered}" if c.altered else ""
        reals = "unknown" if c.n_real is None else f"{c.n_real:,}"
        line = f"{c.n_fake:,} {whose}{norm} against {reals} reals ({c.split}) by {c.extractor} {c.extractor_sha256[:8]}"
        groups.setdefault(line + resizer + altered, {})[key] = score
    return groups


def _settings(found: Scores) -> Iterator[str]:
    for score in found.values():
        if plain := {
            name: value for name, value in score.contract.settings.items() if not isinstance(value, list | dict)
        }:
            yield f"  {score.contract.metric}: {', '.join(f'{name}={value}' for name, value in plain.items())}"


def matching_anchor_scores(anchors: Mapping[str, Scores], score: Score) -> dict[str, Score]:
    """The score of each anchor by the same metric and extractor; its number of samples may be another."""
    own = score.contract.metric, score.contract.extractor_sha256, score.contract.split
    found: dict[str, Score] = {}
    for name, scores in anchors.items():
        for one in scores.values():
            if (one.contract.metric, one.contract.extractor_sha256, one.contract.split) == own:
                found[NAMES.get(name, name)] = one
    return found


def detail_tables(found: Scores) -> Iterator[str | Table]:
    """What stands behind the scores: a note as a line, a list of like rows as a table."""
    for key, score in found.items():
        for name, value in score.detail.items():
            if name == "note":
                yield f"{key}: {value}"
            elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
                yield f"\n{key}: {name}"
                yield _rows(value)


def _rows(rows: list[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in rows[0]:
        table.add_column(str(name), justify="right")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()))
    return table
