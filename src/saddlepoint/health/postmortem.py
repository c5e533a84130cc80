"""The post-mortem: one page of what went wrong in a run, when, and what the literature tries against it.

postmortem.md, and postmortem.png beside it, from what the run folder says: health.jsonl, metrics.jsonl, config.yaml.
"""

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from saddlepoint.health.remedy import remedy_overrides
from saddlepoint.run import layout
from saddlepoint.run.folder import Run, write_file
from saddlepoint.template import render_template

HEALTH_FILE, POSTMORTEM_FILE, PICTURE_FILE = "health.jsonl", "postmortem.md", "postmortem.png"
DIVERGED = "diverged"  # an event like an alarm: a term has become no number
AROUND = 3  # looks that are shown before the first alarm, and after it
LINE, ALARM, PALE = "#0072B2", "#D55E00", "#8A9099"  # Okabe & Ito 2008
WIDE = 20  # values that span more than this are drawn on a logarithmic axis, where one makes sense
LEAST = 1e-12  # where 0 is drawn on a logarithmic axis
Event = Mapping[str, Any]


class Panel(NamedTuple):
    """How a reading is shown."""

    title: str  # of its drawing
    head: str  # of its column in a table
    logarithmic: bool = True  # whether its axis may be


PANELS = {
    "train_over_held_out": Panel("P(D: train > held-out)", "train > held-out", False),
    "real_over_fake": Panel("P(D: real > fake)", "real > fake", False),
    "diversity": Panel("diversity of samples", "diversity"),
    "generator_signal": Panel("share of G's loss that passes", "G's signal"),
    "pixel_freedom": Panel("freedom of G's pixels", "pixels' freedom"),
    "logit_spread": Panel("spread of D's logits", "logits' spread"),
    "magnitude": Panel("log10 of the largest number", "log10 largest", False),
    "gradient_ratio": Panel("gradient of G over D", "G/D gradient"),
}


def write_postmortem(run: Run, status: str, why: str = "") -> Path | None:
    """Write the page of a run that raised an alarm or diverged; returns its path, None for a run with nothing to tell.

    status, why    how the run ended, and what was said then
    """
    events = run.events(HEALTH_FILE)[0]
    bad = [event for event in events if event["event"] != "cleared"]
    if not bad or not run.writes:
        return None
    rows = [row for row in run.rows() if any(key.startswith("health/") for key in row)]
    if (picture := _drawing(rows, bad)) is not None:
        write_file(run.folder / PICTURE_FILE, picture)
    config, first = _config(run), bad[0]["images"]
    at = next((i for i, row in enumerate(rows) if row["images"] >= first), len(rows) - 1)
    near = rows[max(0, at - AROUND) : at + AROUND + 1]
    firsts = {event["rule"]: event for event in reversed(bad)}
    heads = {name: panel.head for name, panel in PANELS.items() if any(f"health/{name}" in row for row in near)}
    page = render_template(
        "health/postmortem.md.j2",
        run=run,
        status=status,
        why=why,
        config=config,
        events=events,
        bad=bad,
        picture=picture and PICTURE_FILE,
        near=near,
        heads=heads,
        grids=_grids(run, first),
        tries={rule: _tries(firsts[rule], config) for rule in dict.fromkeys(event["rule"] for event in bad)},
        linked=_linked,
    )
    write_file(run.folder / POSTMORTEM_FILE, page)
    return run.folder / POSTMORTEM_FILE


def _grids(run: Run, images: int) -> list[Path]:
    """The grids of samples nearest to the alarm, on either side."""
    grids = layout.files_by_images(run.samples, ".png")
    before = [path for reached, path in grids.items() if reached <= images]
    return before[-1:] + list(grids.values())[len(before) :][:1]


def _tries(event: Event, config: Mapping[str, Any]) -> list[tuple[Mapping[str, str], str]]:
    """What the literature tries, and what to type; without what the run has already or cannot have."""
    tried = [(remedy, remedy_overrides(remedy["words"], config)) for remedy in event["remedies"]]
    return [(remedy, words) for remedy, words in tried if words is not None]


def _linked(source: str) -> str:
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


def _config(run: Run) -> Mapping[str, Any]:
    """config.yaml as it is written; {} where it cannot be read: the page is about something else."""
    with contextlib.suppress(OSError, yaml.YAMLError):
        found = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _drawing(rows: Sequence[Event], events: Sequence[Event]) -> bytes | None:
    """A PNG, a panel per reading that the rows have; None where they have none.

    rows     of metrics.jsonl that hold health/<reading>
    events   of health.jsonl: a raised alarm is a vertical line, its bound a dotted one in the panel of its reading
    """
    from matplotlib.figure import Figure

    held = [name for name in PANELS if any(f"health/{name}" in row for row in rows)]
    if not held:
        return None
    lines = -(-len(held) // 4)
    figure = Figure(figsize=(12, 2.5 * lines), dpi=110, layout="constrained", facecolor="white")
    for place, name in enumerate(held, 1):
        _panel(figure.add_subplot(lines, 4, place), name, rows, events)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _panel(axes: Any, name: str, rows: Sequence[Event], events: Sequence[Event]) -> None:
    from matplotlib.ticker import EngFormatter, NullFormatter

    panel = PANELS[name]
    pairs = [(row["images"], row[f"health/{name}"]) for row in rows if f"health/{name}" in row]
    images, values = zip(*pairs, strict=True)
    if panel.logarithmic and max(values) > WIDE * max(min(values), LEAST):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        values = [max(value, LEAST) for value in values]
    axes.plot(images, values, color=LINE, marker="o", markersize=3, linewidth=1.2)
    for event in events:
        if event["event"] == "cleared":
            continue
        own = name == event["reading"]
        axes.axvline(event["images"], color=ALARM if own else PALE, linewidth=1.6 if own else 0.8, linestyle="--")
        if own and event["value"] is not None:
            axes.axhline(event["bound"], color=ALARM, linewidth=0.9, linestyle=":")
            axes.annotate(event["rule"], (event["images"], 0.98), xycoords=("data", "axes fraction"), rotation=90,
                          ha="right", va="top", fontsize=7, color=ALARM)  # fmt: skip
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)
