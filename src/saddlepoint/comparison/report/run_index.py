"""The list of the runs of a folder: how each ended, its scores, time and next step; as a sheet and an HTML index."""

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saddlepoint.comparison.arms.record import KILLED, NO_SUMMARY, RUNNING, Record, RunCollection
from saddlepoint.comparison.report.markup import javascript_sort_key
from saddlepoint.comparison.report.sheet import EMPTY, Cell, Sheet, number_cell
from saddlepoint.console.terminal import format_duration
from saddlepoint.run import layout
from saddlepoint.run.alarm import POSTMORTEM_FILE
from saddlepoint.run.folder import Run
from saddlepoint.template import render_template

MOST_SCORES = 3  # columns of scores: those that most runs have
NOT_STARTED = "not started"
REPORT = "report.html"
# the page is read with the pictures beside it, which a browser opens as files
POLICY = "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def next_step(record: Record) -> str:
    """Return what to do next with a run: a command, a file to read, or the reason of its failure; "" if nothing."""
    folder = record.folder
    has_postmortem = (folder / POSTMORTEM_FILE).exists()
    if record.status == RUNNING:
        return f"wait for {Run(folder).holder or 'its process'}"
    if record.status in ("interrupted", KILLED, NO_SUMMARY):
        return f"continue: {_start_command(record)}"
    if record.status == "diverged" and (dumps := layout.files_by_images(folder / "dumps", ".pt")):
        return f"saddlepoint replay dump={shlex.quote(str(list(dumps.values())[-1]))}"
    if has_postmortem:
        return f"read {POSTMORTEM_FILE}"
    if record.status != "finished":
        return str(record.summary.get("error") or "see the output of its command").splitlines()[0]
    return "" if record.final_scores or record.is_imported else f"saddlepoint evaluate run={shlex.quote(str(folder))}"


def _start_command(record: Record) -> str:
    """Return the command that started a run; a run of `train -m` has only the config that it was given."""
    program, *arguments = [str(argument) for argument in record.provenance.get("argv") or [""]]
    if layout.hidden_sibling(record.folder, "yaml").exists() or not arguments or Path(program).name == "train.py":
        return "repeat the saddlepoint train -m that started it"
    return f"saddlepoint {shlex.join(arguments)}"


def runs_sheet_of(runs: RunCollection, root: Path) -> Sheet:
    """Return the sheet of all runs: a row per run, named relative to `root`; the scores that most runs have."""
    counts = Counter(key for record in runs.records for key in record.final_scores)
    keys = [key for key, _ in counts.most_common(MOST_SCORES)]
    rows = [_row(record, keys, root) for record in runs.records]
    for folder in runs.not_started:
        rows.append((Cell(_name(folder, root)), Cell(NOT_STARTED), *[EMPTY] * (len(keys) + 2),
                     Cell("repeat the saddlepoint train -m that planned it")))  # fmt: skip
    notes = (
        [f"{len(counts) - len(keys)} more scores: --json, or a run's summary.json"] if len(counts) > len(keys) else []
    )
    if runs.moved_aside:
        notes.append(f"{len(runs.moved_aside)} runs that overwrite=true moved aside are left out")
    return Sheet(
        f"{len(rows)} run{'s' * (len(rows) != 1)} in {root}",
        ("run", "status", "images", "time", *keys, "next"),
        tuple(rows),
        tuple(notes),
    )


def _row(record: Record, keys: Sequence[str], root: Path) -> tuple[Cell, ...]:
    target, (images, seconds) = record.target_images, _progress(record)
    is_partial = images is not None and target is not None and images < target
    scores = record.final_scores
    return (
        Cell(_name(record.folder, root)),
        Cell(record.status),
        EMPTY if images is None else Cell(f"{images:,}" + f" of {target:,}" * is_partial, float(images)),
        EMPTY if seconds is None else Cell(format_duration(seconds), float(seconds)),
        *(number_cell(scores[key]["value"] if key in scores else None) for key in keys),
        Cell(next_step(record)),
    )


def _progress(record: Record) -> tuple[int | None, float | None]:
    """Return the images and seconds of a run: at its end, or of its last event if it has not ended."""
    ends: Mapping[str, Any] = record.summary
    if record.status in (RUNNING, KILLED, NO_SUMMARY):
        ends = {**ends, **(record.journal[0][-1] if record.journal[0] else {})}
    return ends.get("images"), ends.get("seconds")


def _name(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.as_posix()


def runs_to_plain(runs: RunCollection) -> list[dict[str, Any]]:
    """Return a plain mapping per run, with all its final scores."""
    return [
        {
            "folder": record.folder.as_posix(),
            "status": record.status,
            "images": _progress(record)[0],
            "target": record.target_images,
            "seconds": _progress(record)[1],
            "scores": {key: score["value"] for key, score in record.final_scores.items()},
            "next": next_step(record),
        }
        for record in runs.records
    ] + [{"folder": folder.as_posix(), "status": NOT_STARTED} for folder in runs.not_started]


def index_page(runs: RunCollection, sheet: Sheet, root: Path, to: Path) -> str:
    """Return the HTML index, to be written to the file `to`: the sheet, with a picture and links for each run.

    Links and pictures are relative to `to`. The reports of comparisons in `root` are linked above the table.
    """
    beside = to.absolute().parent
    links = [_links(record, beside) for record in runs.records] + [{"picture": None, "files": {}}] * len(
        runs.not_started
    )
    reports = sorted(path for path in root.glob(f"*/{REPORT}")) if root.is_dir() else []
    return render_template(
        "comparison/report/run_index.html.j2", sheet=sheet, links=links, policy=POLICY, sort_key=javascript_sort_key,
        reports={path.parent.name: _relative(path, beside) for path in reports},
    )  # fmt: skip


def _links(record: Record, beside: Path) -> dict[str, Any]:
    """Return the last grid of a run, and the files that report on it, as addresses relative to `beside`."""
    grids = layout.files_by_images(record.folder / "samples", ".png")
    files = {name: record.folder / name for name in ("summary.json", "config.yaml", POSTMORTEM_FILE)}
    pictures = list(grids.values())[-1:]
    return {
        "picture": _relative(pictures[0], beside) if pictures else None,
        "files": {name: _relative(path, beside) for name, path in files.items() if path.exists()},
    }


def _relative(path: Path, beside: Path) -> str:
    return Path(os.path.relpath(path.absolute(), beside)).as_posix()
