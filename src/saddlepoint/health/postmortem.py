"""The post-mortem: one page of what went wrong in a run, when, and what the literature tries against it.

postmortem.md, and postmortem.png beside it, from what the run folder says: health.jsonl, metrics.jsonl, config.yaml.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.health.advice import advice
from saddlepoint.health.course import PANELS, drawing
from saddlepoint.run import layout
from saddlepoint.run.folder import Run, write
from saddlepoint.template import render

FILE, PAGE, PICTURE = "health.jsonl", "postmortem.md", "postmortem.png"
DIVERGED = "diverged"  # an event like an alarm: a term has become no number
AROUND = 3  # looks that are shown before the first alarm, and after it
Event = Mapping[str, Any]


def postmortem(run: Run, status: str, why: str = "") -> Any:
    """Write the page of a run that raised an alarm or diverged; returns its path, None for a run with nothing to tell.

    status, why    how the run ended, and what was said then
    """
    events = run.events(FILE)[0]
    bad = [event for event in events if event["event"] != "cleared"]
    if not bad or not run.writes:
        return None
    rows = [row for row in run.rows() if any(key.startswith("health/") for key in row)]
    if (picture := drawing(rows, bad)) is not None:
        write(run.folder / PICTURE, picture)
    config, near = _config(run), _near(rows, bad[0]["images"])
    firsts = {event["rule"]: event for event in reversed(bad)}
    heads = {name: panel.head for name, panel in PANELS.items() if any(f"health/{name}" in row for row in near)}
    page = render(
        "health/postmortem.md.j2",
        run=run,
        status=status,
        why=why,
        config=config,
        events=events,
        bad=bad,
        picture=picture and PICTURE,
        near=near,
        heads=heads,
        grids=_grids(run, bad[0]["images"]),
        tries={rule: _tries(firsts[rule], config) for rule in dict.fromkeys(event["rule"] for event in bad)},
        linked=_linked,
    )
    path = run.folder / PAGE
    write(path, page)
    return path


def _near(rows: Sequence[Event], images: int) -> Sequence[Event]:
    """The looks about the first alarm."""
    at = next((i for i, row in enumerate(rows) if row["images"] >= images), len(rows) - 1)
    return rows[max(0, at - AROUND) : at + AROUND + 1]


def _grids(run: Run, images: int) -> list[Path]:
    """The grids of samples nearest to the alarm, on either side."""
    grids = layout.by_images(run.samples, ".png")
    before = [path for reached, path in grids.items() if reached <= images]
    return before[-1:] + list(grids.values())[len(before) :][:1]


def _tries(event: Event, config: Mapping[str, Any]) -> list[tuple[Mapping[str, str], str]]:
    """What the literature tries, and what to type; without what the run has already or cannot have."""
    tried = [(remedy, advice(remedy["words"], config)) for remedy in event["remedies"]]
    return [(remedy, words) for remedy, words in tried if words is not None]


def _linked(source: str) -> str:
    """The text with each arXiv id a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


def _config(run: Run) -> Mapping[str, Any]:
    """config.yaml as it is written; {} where it cannot be read: the page is about something else."""
    with contextlib.suppress(OSError, yaml.YAMLError):
        found = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
