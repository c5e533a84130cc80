"""The readings of a run's health over its images, drawn, with the alarms marked."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Rows = Sequence[Mapping[str, Any]]


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
LINE, ALARM, PALE = "#0072B2", "#D55E00", "#8A9099"  # Okabe & Ito 2008
WIDE = 20  # values that span more than this are drawn on a logarithmic axis, where one makes sense
LEAST = 1e-12  # where 0 is drawn on a logarithmic axis


def drawing(rows: Rows, events: Rows) -> bytes | None:
    """A PNG, a panel per reading that the rows have; None where they have none.

    rows     of metrics.jsonl that hold health/<reading>
    events   of health.jsonl: a raised alarm is a vertical line, its bound a dotted one in the panel of its reading
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    held = [name for name in PANELS if any(f"health/{name}" in row for row in rows)]
    if not held:
        return None
    lines = -(-len(held) // 4)
    figure = Figure(figsize=(12, 2.5 * lines), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for place, name in enumerate(held, 1):
        _panel(figure.add_subplot(lines, 4, place), name, rows, events)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _panel(axes: Any, name: str, rows: Rows, events: Rows) -> None:
    from matplotlib.ticker import NullFormatter

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
    axes.xaxis.set_major_formatter(_thousands)
    axes.grid(alpha=0.25)


def _thousands(images: float, _: int = 0) -> str:
    return f"{images / 1000:g}k" if images else "0"
