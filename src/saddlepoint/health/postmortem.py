"""The post-mortem: one page of what went wrong in a run, when, and what the literature tries against it.

postmortem.md, and postmortem.png beside it, from what the run folder says: health.jsonl, metrics.jsonl, config.yaml.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from saddlepoint.health.advice import advice
from saddlepoint.health.course import drawing
from saddlepoint.run.folder import Run, write

FILE, PAGE, PICTURE = "health.jsonl", "postmortem.md", "postmortem.png"
DIVERGED = "diverged"  # an event like an alarm: a term has become no number
AROUND = 3  # looks that are shown before the first alarm, and after it
COLUMNS = {  # reading -> the head of its column
    "train_over_held_out": "train > held-out",
    "real_over_fake": "real > fake",
    "diversity": "diversity",
    "generator_signal": "G's signal",
    "pixel_freedom": "pixels' freedom",
    "logit_spread": "logits' spread",
    "magnitude": "log10 largest",
    "gradient_ratio": "G/D gradient",
}
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
    config = _config(run)
    parts = [
        _head(run, status, why, config, bad),
        _when(events),
        f"![The readings along the run; alarms are dashed, bounds dotted]({PICTURE})" if picture else "",
        _around(rows, bad[0]["images"]),
        _pictures(run, bad[0]["images"]),
        _tries(bad, config),
        "Every look stands in `metrics.jsonl` under `health/`, every alarm in `health.jsonl`. What the readings mean, "
        "and at what rate healthy runs alarm: docs/health.md.",
    ]
    path = run.folder / PAGE
    write(path, "\n\n".join(part for part in parts if part) + "\n")
    return path


def _head(run: Run, status: str, why: str, config: Mapping[str, Any], bad: Sequence[Event]) -> str:
    first = bad[0]
    lines = [
        f"# Post-mortem: {first['rule']} at {first['images']:,} images",
        f"`{run.folder.parent.name}/{run.folder.name}`, seed {config.get('seed', '?')}, "
        f"to be trained on {config.get('images', 0):,} images: **{status}**."
        + (f" {why[0].upper()}{why[1:]}." if why else ""),
    ]
    return "\n\n".join(lines)


def _when(events: Sequence[Event]) -> str:
    """Each event a line, in order."""
    lines = ["## When"]
    for event in events:
        where = f"* {event['images']:,} images, **{event['rule']}**"
        if event["event"] == DIVERGED:
            lines.append(f"{where}: {event.get('note', 'a term is no number')}")
        elif event["event"] == "cleared":
            lines.append(f"{where} cleared: {event['reading']} is {event['value']:.3g} again")
        else:
            looks = f", at {event['after']} looks in a row" if event["after"] > 1 else ""
            lines.append(
                f"{where}: {event['means']}. `{event['reading']}` is {event['value']:.3g}, its bound "
                f"{event['bound']:.3g}{looks}{event.get('note', '')}. A sign told of in {_linked(event['source'])}."
            )
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _around(rows: Sequence[Mapping[str, Any]], images: int) -> str:
    """The looks about the first alarm, as a table; the alarm's own in bold."""
    if not rows:
        return "No look had been taken before."
    at = next((i for i, row in enumerate(rows) if row["images"] >= images), len(rows) - 1)
    near = rows[max(0, at - AROUND) : at + AROUND + 1]
    held = [name for name in COLUMNS if any(f"health/{name}" in row for row in near)]
    lines = ["| images | " + " | ".join(COLUMNS[name] for name in held) + " |", "|---:" * (len(held) + 1) + "|"]
    for row in near:
        cells = [f"{row['images']:,}", *(_cell(row.get(f"health/{name}")) for name in held)]
        bold = row["images"] == images
        lines.append("| " + " | ".join(f"**{cell}**" if bold and cell else cell for cell in cells) + " |")
    return "\n".join(lines)


def _pictures(run: Run, images: int) -> str:
    """The grids nearest to the alarm, on either side."""
    grids = sorted((int(path.stem), path) for path in run.samples.glob("*.png") if path.stem.isdigit())
    before = [path for at, path in grids if at <= images][-1:]
    after = [path for at, path in grids if at > images][:1]
    told = [f"[{int(path.stem):,} images](samples/{path.name})" for path in before + after]
    return f"Samples near it: {', '.join(told)}; the reals: [real](samples/real.png)." if told else ""


def _tries(bad: Sequence[Event], config: Mapping[str, Any]) -> str:
    """What the literature tries, rule by rule, with what to add to this run's command."""
    lines = ["## What the literature tries"]
    for rule in dict.fromkeys(event["rule"] for event in bad):
        event = next(event for event in bad if event["rule"] == rule)
        rows = [_row(remedy, config) for remedy in event["remedies"]]
        head = f"Against **{rule}**, to be added to this run's command:\n\n| what | where | type |\n|---|---|---|\n"
        lines.append(head + "\n".join(row for row in rows if row))
    return "\n\n".join(lines)


def _row(remedy: Mapping[str, str], config: Mapping[str, Any]) -> str:
    """A line of that table, "" where the run has it already or cannot have it."""
    words = advice(remedy["words"], config)
    if words is None:
        return ""
    return f"| {remedy['what']} | {_linked(remedy['source'])} | {f'`{words}`' if words else ''} |"


def _linked(source: str) -> str:
    """The text with each arXiv id a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _config(run: Run) -> Mapping[str, Any]:
    """config.yaml as it is written; {} where it cannot be read: the page is about something else."""
    with contextlib.suppress(OSError, yaml.YAMLError):
        found = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
