"""The post-mortem: one page about what went wrong in a run, when, and what the literature recommends.

Writes postmortem.md and postmortem.png from files of the run folder: health.jsonl, metrics.jsonl, config.yaml.
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
from saddlepoint.run.alarm import HEALTH_FILE, POSTMORTEM_FILE
from saddlepoint.run.folder import Run, write_file
from saddlepoint.template import render_template

PICTURE_FILE = "postmortem.png"
DIVERGED = "diverged"  # an event, like an alarm: a term is nan or infinite
CHECKS_AROUND_ALARM = 3  # checks shown before and after the first alarm
LINE, ALARM, PALE = "#0072B2", "#D55E00", "#8A9099"  # Okabe & Ito 2008
MIN_LOG_RANGE = 20  # a larger ratio of values is drawn on a logarithmic axis, if the panel allows it
LOG_ZERO = 1e-12  # drawn in place of 0 on a logarithmic axis
Event = Mapping[str, Any]


class Panel(NamedTuple):
    """How a reading is displayed."""

    title: str  # of its plot
    head: str  # of its table column
    logarithmic: bool = True  # whether its axis may be logarithmic


PANELS = {
    "train_over_held_out": Panel("P(D: train > held-out)", "train > held-out", False),
    "real_over_fake": Panel("P(D: real > fake)", "real > fake", False),
    "diversity": Panel("diversity of samples", "diversity"),
    "generator_signal": Panel("fraction of G's loss gradient", "G's signal"),
    "pixel_freedom": Panel("freedom of G's pixels", "pixels' freedom"),
    "input_correlation": Panel("correlation of input and output", "input corr.", False),
    "logit_spread": Panel("spread of D's logits", "logits' spread"),
    "magnitude": Panel("log10 of the largest value", "log10 largest", False),
    "gradient_ratio": Panel("gradient of G over D", "G/D gradient"),
}


def write_postmortem(run: Run, status: str, why: str = "") -> Path | None:
    """Write the page of a run that raised an alarm or diverged.  Return its path, or None if there was no alarm.

    status, why    how the run ended, and the message
    """
    events = run.events(HEALTH_FILE)[0]
    bad = [event for event in events if event["event"] != "cleared"]
    if not bad or not run.writes:
        return None
    rows = [row for row in run.rows() if any(key.startswith("health/") for key in row)]
    if (picture := _plot_readings(rows, bad)) is not None:
        write_file(run.folder / PICTURE_FILE, picture)
    config, first = _load_run_config(run), bad[0]["images"]
    alarm = next((i for i, row in enumerate(rows) if row["images"] >= first), len(rows) - 1)
    near = rows[max(0, alarm - CHECKS_AROUND_ALARM) : alarm + CHECKS_AROUND_ALARM + 1]
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
        grids=_grids_around(run, first),
        remedies={
            rule: _applicable_remedies(firsts[rule], config) for rule in dict.fromkeys(event["rule"] for event in bad)
        },
        linked=_link_papers,
    )
    write_file(run.folder / POSTMORTEM_FILE, page)
    return run.folder / POSTMORTEM_FILE


def _grids_around(run: Run, images: int) -> list[Path]:
    """Return the sample grids saved last before and first after the alarm."""
    grids = layout.files_by_images(run.samples, ".png")
    before = [path for saved_at, path in grids.items() if saved_at <= images]
    return before[-1:] + list(grids.values())[len(before) :][:1]


def _applicable_remedies(event: Event, config: Mapping[str, Any]) -> list[tuple[Mapping[str, str], str]]:
    """Return remedies with overrides, without those that the run uses already or that do not apply to it."""
    remedies = [(remedy, remedy_overrides(remedy["words"], config)) for remedy in event["remedies"]]
    return [(remedy, overrides) for remedy, overrides in remedies if overrides is not None]


def _link_papers(source: str) -> str:
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


def _load_run_config(run: Run) -> Mapping[str, Any]:
    """Load config.yaml as it is, or {} if it cannot be read: the page is useful without it."""
    with contextlib.suppress(OSError, yaml.YAMLError):
        config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        return config if isinstance(config, dict) else {}
    return {}


def _plot_readings(rows: Sequence[Event], events: Sequence[Event]) -> bytes | None:
    """Draw a panel for each reading in the rows; return a PNG, or None if there are no readings.

    rows     of metrics.jsonl that contain health/<reading>
    events   of health.jsonl: an alarm is a vertical line, and its bound a dotted line in the panel of its reading
    """
    from matplotlib.figure import Figure

    names = [name for name in PANELS if any(f"health/{name}" in row for row in rows)]
    if not names:
        return None
    n_rows = -(-len(names) // 4)
    figure = Figure(figsize=(12, 2.5 * n_rows), dpi=110, layout="constrained", facecolor="white")
    for position, name in enumerate(names, 1):
        _plot_panel(figure.add_subplot(n_rows, 4, position), name, rows, events)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _plot_panel(axes: Any, name: str, rows: Sequence[Event], events: Sequence[Event]) -> None:
    from matplotlib.ticker import EngFormatter, NullFormatter

    panel = PANELS[name]
    pairs = [(row["images"], row[f"health/{name}"]) for row in rows if f"health/{name}" in row]
    images, values = zip(*pairs, strict=True)
    if panel.logarithmic and max(values) > MIN_LOG_RANGE * max(min(values), LOG_ZERO):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        values = [max(value, LOG_ZERO) for value in values]
    axes.plot(images, values, color=LINE, marker="o", markersize=3, linewidth=1.2)
    for event in events:
        if event["event"] == "cleared":
            continue
        is_reading = name == event["reading"]
        color, linewidth = (ALARM, 1.6) if is_reading else (PALE, 0.8)
        axes.axvline(event["images"], color=color, linewidth=linewidth, linestyle="--")
        if is_reading and event["value"] is not None:
            axes.axhline(event["bound"], color=ALARM, linewidth=0.9, linestyle=":")
            axes.annotate(event["rule"], (event["images"], 0.98), xycoords=("data", "axes fraction"), rotation=90,
                          ha="right", va="top", fontsize=7, color=ALARM)  # fmt: skip
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)
