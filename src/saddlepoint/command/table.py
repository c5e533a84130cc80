"""Scores as tables for people: one set measured, a run over its snapshots, what stands behind a score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from saddlepoint.metric.contract import Score


class Spread(NamedTuple):
    """Standard errors of one score, None where they were not measured."""

    generations: float | None = None  # standard deviation over fresh generations
    mean: float | None = None  # over those generations
    reals: float | None = None  # jackknife
    fakes: float | None = None  # jackknife, of a fixed set


NAMES = {"real": "held-out reals"}
ERRORS = {
    "generations": "± fresh generation",
    "mean": "mean of generations",
    "reals": "± other reals",
    "fakes": "± other samples",
}
WIDE = 6  # scores in one table, so that it fits a narrow terminal
Scores = Mapping[str, Score]
Row = tuple[str, dict[str, str], str | None]  # its name, a cell per score, a style


def measured(
    title: str, found: Scores, anchors: Mapping[str, Scores], spread: Mapping[str, Spread] | None = None
) -> Iterator[str | Table]:
    """A table per ruler, one column per score: its value, its errors where they were measured, its anchors."""
    yield title
    for ruler, own in by_ruler(found).items():
        rows: list[Row] = [("value", {key: f"{score.value:.4g}" for key, score in own.items()}, "bold")]
        parts = {key: f"{score.std:.2g}" for key, score in own.items() if score.std is not None}
        errors = {
            told: {
                key: f"{error:.2g}" if "±" in told else f"{error:.4g}"
                for key in own
                if (error := getattr((spread or {}).get(key, Spread()), name)) is not None
            }
            for name, told in ERRORS.items()
        }
        rows += [(told, cells, None) for told, cells in {"± over its parts": parts, **errors}.items() if cells]
        yield from _tables(ruler, own, rows, anchors)


def over_the_run(title: str, found: Mapping[str, Scores], anchors: Mapping[str, Scores]) -> Iterator[str | Table]:
    """A table per ruler: one row per moment, by images; one column per score; below, the anchors."""
    yield title
    every = {key: score for scores in found.values() for key, score in scores.items()}
    for ruler, own in by_ruler(every).items():
        rows: list[Row] = [
            (f"{int(images):,} images", {key: f"{scores[key].value:.4g}" for key in own if key in scores}, None)
            for images, scores in found.items()
        ]
        yield from _tables(ruler, own, rows, anchors)


def _tables(ruler: str, own: Scores, rows: list[Row], anchors: Mapping[str, Scores]) -> Iterator[str | Table]:
    """The line that says what was measured by what; the rows, and the anchors below; what each metric was told."""
    yield f"\n{ruler}"
    for some in batched(own, WIDE):
        table = _table()
        table.add_column("", no_wrap=True)
        for key in some:
            table.add_column(own[key].contract.metric, justify="right")
        for name, cells, style in rows:
            if any(key in cells for key in some):
                table.add_row(name, *(cells.get(key, "") for key in some), style=style)
        table.add_section()
        beside = {key: alike(anchors, own[key]) for key in some}
        for name in dict.fromkeys(name for found in beside.values() for name in found):
            cells = (f"{beside[key][name].value:.4g}" if name in beside[key] else "" for key in some)
            table.add_row(name, *cells, style="dim")
        yield table
    yield from _settings(own)


def batched(own: Scores, size: int) -> Iterator[list[str]]:
    """The keys, `size` at a time."""
    keys = list(own)
    yield from (keys[i : i + size] for i in range(0, len(keys), size))


def by_ruler(found: Scores) -> dict[str, dict[str, Score]]:
    """The scores in groups of one extractor, fakes and reals, under a line that says what was measured by what."""
    groups: dict[str, dict[str, Score]] = {}
    for key, score in found.items():
        c = score.contract
        whose = {"none": "samples", "averaged": "samples of averaged weights", "raw": "samples of raw weights"}[
            c.weights
        ]
        resizer = "" if c.resizer == "none" else f", {c.resizer}"
        norm = "" if c.batch_norm in ("running", "none") else f", batch norm by {c.batch_norm}"
        reals = "unknown" if c.n_real is None else f"{c.n_real:,}"
        line = f"{c.n_fake:,} {whose}{norm} against {reals} reals ({c.split}) by {c.extractor} {c.extractor_sha256[:8]}"
        groups.setdefault(line + resizer, {})[key] = score
    return groups


def _settings(found: Scores) -> Iterator[str]:
    """What each metric was told, a line each."""
    for score in found.values():
        if plain := {
            name: value for name, value in score.contract.settings.items() if not isinstance(value, list | dict)
        }:
            yield f"  {score.contract.metric}: {', '.join(f'{name}={value}' for name, value in plain.items())}"


def _table(title: str | None = None) -> Table:
    return Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")


def alike(anchors: Mapping[str, Scores], score: Score) -> dict[str, Score]:
    """The score of each anchor by the same metric and extractor; its number of samples may be another."""
    own = score.contract.metric, score.contract.extractor_sha256, score.contract.split
    found: dict[str, Score] = {}
    for name, scores in anchors.items():
        for one in scores.values():
            if (one.contract.metric, one.contract.extractor_sha256, one.contract.split) == own:
                found[NAMES.get(name, name)] = one
    return found


def details(found: Scores) -> Iterator[str | Table]:
    """What stands behind the scores: a note as a line, a list of like rows as a table."""
    for key, score in found.items():
        for name, value in score.detail.items():
            if name == "note":
                yield f"{key}: {value}"
            elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
                yield _rows(f"{key}: {name}", value)


def _rows(title: str, rows: list[Mapping[str, Any]]) -> Table:
    table = _table(title)
    for name in rows[0]:
        table.add_column(str(name), justify="right")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()))
    return table
