"""Tables of scores for the console: of one set, of all snapshots of a run, of a finished run, and details of scores."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from saddlepoint.console.output import WIDTH
from saddlepoint.evaluation.contract import Score, Uncertainty
from saddlepoint.run.folder import Run

REMAINING = "under one protocol"  # row of the difference between two runs
PARTS = "± over its parts"
NAMES = {"real": "held-out reals"}
ERRORS = {
    "generations": "± fresh generation",
    "mean": "mean of generations",
    "reals": "± other reals",
    "fakes": "± other samples",
}
Scores = Mapping[str, Score]

HEADING_WIDTH = 9  # per line of a heading
MAX_NAME_WIDTH = 46  # characters of the first column


class Column(NamedTuple):
    """One column of a table: its heading, which may have several lines, and its cells by row."""

    heading: str
    cells: Mapping[str, str]
    style: str | None = None

    @property
    def width(self) -> int:
        """Length of its longest line."""
        return max(map(_text_width, (self.heading, *self.cells.values())))


def score_tables(
    title: str,
    scores: Scores,
    anchors: Mapping[str, Scores],
    uncertainties: Mapping[str, Uncertainty] | None = None,
    width: int = WIDTH,
) -> Iterator[str | Table]:
    """Yield a table per extractor, one row per score: its value, its standard errors if measured, its anchors."""
    yield title
    for heading, group in group_by_extractor(scores).items():
        parts = {key: f"{score.std:.2g}" for key, score in group.items() if score.std is not None}
        errors = {
            label: {
                key: f"{error:.2g}" if "±" in label else f"{error:.4g}"
                for key in group
                if (error := getattr((uncertainties or {}).get(key, Uncertainty()), name)) is not None
            }
            for name, label in ERRORS.items()
        }
        values = [Column("value", _format_values(group), "bold")]
        values += [Column(name, cells) for name, cells in {PARTS: parts, **errors}.items() if cells]
        yield f"\n{heading}"
        yield from fit_tables("score", list(group), [values, [values[0], *anchor_columns(group, anchors)]], width)
        yield from small_anchor_notes(group, anchors)
        yield from _format_settings(group)


def snapshot_tables(
    title: str, snapshots: Mapping[str, Scores], anchors: Mapping[str, Scores], width: int = WIDTH
) -> Iterator[str | Table]:
    """Yield a table per extractor: one column per score, one row per snapshot, by images, and the anchors below."""
    yield title
    every = {key: score for scores in snapshots.values() for key, score in scores.items()}
    for heading, group in group_by_extractor(every).items():
        rows = {f"{int(images):,} images": _format_values(scores) for images, scores in snapshots.items()}
        below = {column.heading: column.cells for column in anchor_columns(group, anchors)}
        cells = {**rows, **below}
        columns = [Column(key, {name: row[key] for name, row in cells.items() if key in row}) for key in group]
        yield f"\n{heading}"
        yield from fit_tables("", list(rows), [columns], width, list(below))
        yield from _format_settings(group)


def run_score_tables(run: Run, width: int = WIDTH) -> Iterator[str | Table]:
    """Yield tables of a finished run's scores: untrained, final, best, and its anchors; nothing if it has no scores."""
    summary = run.summary
    every = _parse_scores(summary.get("final") or {})
    if not every:
        return
    first_extractor = next(iter(every.values())).contract.extractor_sha256
    final = {key: score for key, score in every.items() if score.contract.extractor_sha256 == first_extractor}
    yield f"{run.folder.parent.name}, {summary['images']:,} images in {summary['seconds']:.0f} s"
    untrained = next((row for row in run.rows() if row["images"] == 0 and next(iter(final)) in row), {})
    best = {key: one["value"] for key, one in summary.get("best", {}).items()}
    values = {"untrained": untrained, "final": {key: score.value for key, score in final.items()}, "best": best}
    cells = {
        name: {key: f"{row[key]:.4g}" for key in final if row.get(key) is not None} for name, row in values.items()
    }
    columns = [Column(name, rows, "bold" if name == "final" else None) for name, rows in cells.items() if rows]
    measured = {name: _parse_scores(plain) for name, plain in summary.get("anchors", {}).items()}
    anchors = anchor_columns(final, measured)
    with_anchors = [Column("final", cells["final"], "bold"), *anchors] if anchors else []
    yield from fit_tables("score", list(final), [columns, with_anchors], width)
    notes = ["best: at the checkpoint that the validation split chose"] if best else []
    notes += ["the other columns are anchors: sets of known quality, measured in the same way"] if anchors else []
    notes += small_anchor_notes(final, measured)
    others: dict[str, list[str]] = {}
    for score in (score for key, score in every.items() if key not in final):
        contract = score.contract
        source = "of the players" if contract.extractor_sha256 == "none" else "by the second extractor"
        others.setdefault(f"{source}, {contract.extractor}", []).append(f"{contract.metric} {score.value:.4g}")
    notes += [f"{source}: {', '.join(listed)}" for source, listed in others.items()]
    yield from notes


def _format_values(scores: Scores) -> dict[str, str]:
    return {key: f"{score.value:.4g}" for key, score in scores.items()}


def _parse_scores(plain: Mapping[str, Any]) -> dict[str, Score]:
    return {key: Score.from_dict(score) for key, score in plain.items()}


def protocol_step_tables(
    steps: Sequence[tuple[str, Mapping[str, float]]], difference: Mapping[str, float], width: int = WIDTH
) -> Iterator[str | Table]:
    """Yield a table of the measurements of two runs, a and b: scores by metric, and their change from the first row.

    The last row is the `difference` between the two runs when both are measured by one protocol.
    """
    first = steps[0][1]
    cells: dict[str, dict[str, str]] = {metric: {} for metric in first}
    for label, scores in steps:
        for metric in first.keys() & scores.keys():
            change = "" if scores is first else f" ({scores[metric] - first[metric]:+.3g})"
            cells[metric][label] = f"{scores[metric]:.4g}{change}"
    for metric, value in difference.items():
        cells[metric][REMAINING] = f"{value:+.4g}"
    columns = [Column(metric, cells[metric]) for metric in first]
    yield from fit_tables("what changed the score", [label for label, _ in steps], [columns], width, [REMAINING])


def anchor_columns(scores: Scores, anchors: Mapping[str, Scores]) -> list[Column]:
    """Return a column per anchor, with its scores by the same metrics."""
    by_score = {key: matching_anchor_scores(anchors, score) for key, score in scores.items()}
    names = dict.fromkeys(name for matches in by_score.values() for name in matches)
    return [
        Column(
            name, _format_values({key: matches[name] for key, matches in by_score.items() if name in matches}), "dim"
        )
        for name in names
    ]


def small_anchor_notes(scores: Scores, anchors: Mapping[str, Scores]) -> list[str]:
    """Return a line per anchor that has fewer samples than the scores beside it, such as few held-out reals."""
    notes = {}
    for score in scores.values():
        for name, anchor in matching_anchor_scores(anchors, score).items():
            if anchor.contract.n_fake < score.contract.n_fake:
                notes[name] = (
                    f"{name}: only {anchor.contract.n_fake:,} samples, not "
                    f"{score.contract.n_fake:,}; distances fall with this number, so the column is no bound"
                )
    return list(notes.values())


def fit_tables(
    heading: str,
    rows: Sequence[str],
    groups: Sequence[Sequence[Column]],
    width: int = WIDTH,
    below: Sequence[str] = (),
) -> Iterator[str | Table]:
    """Yield one table of all groups of columns if it fits `width`, or else one or more per group; nothing is cut.

    The first column names the `rows`, and those of `below`, which follow a line.  Row names are broken over two lines
    only if this saves a table, and headings only if the columns do not fit into one table.
    """
    names = (heading, *rows, *below)
    shown = unbroken = {name: name for name in names}
    longest = max(map(_text_width, names))
    layouts = _tables_and_gaps(longest, groups, width)
    if len(layouts) > sum(map(bool, groups)):
        shown = {name: _break_name(name) for name in names}
        layouts = _tables_and_gaps(max(map(_text_width, shown.values())), groups, width)
    for i, (columns, gap) in enumerate(layouts):
        if i:
            yield ""
        labels = unbroken if _fits_width(longest, columns, gap, width) else shown
        yield _build_table(labels, (heading, rows, below), columns, gap)


def _tables_and_gaps(first: int, groups: Sequence[Sequence[Column]], width: int) -> list[tuple[list[Column], int]]:
    """Return the columns of each table, and the blanks between them, if the first column has `first` characters."""
    narrow = [[column._replace(heading=fold_heading(column.heading)) for column in group] for group in groups]
    for candidates, gap in ((groups, 2), (narrow, 2), (narrow, 1)):
        columns = list({column.heading: column for group in candidates for column in group}.values())  # without repeats
        if _fits_width(first, columns, gap, width):
            return [(columns, gap)]
    layouts: list[tuple[list[Column], int]] = []
    for group in narrow:
        gap = 2 if _fits_width(first, group, 2, width) else 1
        columns: list[Column] = []
        for column in group:
            if columns and not _fits_width(first, [*columns, column], gap, width):
                layouts.append((columns, gap))
                columns = []
            columns.append(column)
        layouts += [(columns, gap)] if columns else []
    return layouts


def _fits_width(first: int, columns: Sequence[Column], gap: int, width: int) -> bool:
    return first + sum(gap + column.width for column in columns) <= width


def _build_table(
    shown: Mapping[str, str], names: tuple[str, Sequence[str], Sequence[str]], columns: Sequence[Column], gap: int
) -> Table:
    heading, rows, below = names
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1), collapse_padding=True, pad_edge=False, show_edge=False)
    table.add_column(shown[heading], vertical="bottom", overflow="fold", width=max(map(_text_width, shown.values())))
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


def _text_width(text: str) -> int:
    """Length of the longest line of a text; longer texts than MAX_NAME_WIDTH are folded."""
    return min(max(map(len, text.split("\n"))), MAX_NAME_WIDTH)


def _break_name(name: str) -> str:
    """Break a score's name into two lines after the underscore nearest to its middle."""
    breaks = [i + 1 for i, sign in enumerate(name) if sign == "_"]
    middle = min(breaks, key=lambda position: max(position, len(name) - position), default=len(name))
    return f"{name[:middle]}\n{name[middle:]}".rstrip("\n")


def fold_heading(text: str) -> str:
    """Break a heading after blanks and underscores into lines of about nine characters, without dropping any."""
    lines = [""]
    for word in re.findall(r"[^ _]*[ _]?", text):
        if lines[-1] and len((lines[-1] + word).rstrip()) > HEADING_WIDTH:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def group_by_extractor(scores: Scores) -> dict[str, dict[str, Score]]:
    """Group scores by extractor, fakes and reals, under a heading that describes these."""
    groups: dict[str, dict[str, Score]] = {}
    for key, score in scores.items():
        c = score.contract
        samples = "samples" if c.weights == "none" else f"samples of {c.weights} weights"
        resizer = "" if c.resizer == "none" else f", {c.resizer}"
        norm = "" if c.batch_norm in ("running", "none") else f", batch norm: {c.batch_norm}"
        altered = f", altered: {c.altered}" if c.altered else ""
        reals = "unknown" if c.n_real is None else f"{c.n_real:,}"
        head = (
            f"{c.n_fake:,} {samples}{norm} against {reals} reals ({c.split}) by {c.extractor} {c.extractor_sha256[:8]}"
        )
        groups.setdefault(head + resizer + altered, {})[key] = score
    return groups


def _format_settings(scores: Scores) -> Iterator[str]:
    for score in scores.values():
        if plain := {
            name: value for name, value in score.contract.settings.items() if not isinstance(value, list | dict)
        }:
            yield f"  {score.contract.metric}: {', '.join(f'{name}={value}' for name, value in plain.items())}"


def matching_anchor_scores(anchors: Mapping[str, Scores], score: Score) -> dict[str, Score]:
    """Return the score of each anchor by the same metric and extractor; the number of samples may differ."""
    fields = score.contract.metric, score.contract.extractor_sha256, score.contract.split
    matches: dict[str, Score] = {}
    for name, scores in anchors.items():
        for one in scores.values():
            if (one.contract.metric, one.contract.extractor_sha256, one.contract.split) == fields:
                matches[NAMES.get(name, name)] = one
    return matches


def detail_tables(scores: Scores) -> Iterator[str | Table]:
    """Yield the details of the scores: a note as a line, a list of mappings as a table."""
    for key, score in scores.items():
        for name, value in score.detail.items():
            if name == "note":
                yield f"{key}: {value}"
            elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
                yield f"\n{key}: {name}"
                yield _rows_table(value)


def _rows_table(rows: list[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in rows[0]:
        table.add_column(str(name), justify="right")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()))
    return table
