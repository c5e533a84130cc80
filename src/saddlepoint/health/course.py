"""The readings of a run's health over its images, drawn, with the alarms marked."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]
PANELS = {  # reading -> (what it is, whether its axis is logarithmic)
    "train_over_held_out": ("P(D: train > held-out)", False),
    "real_over_fake": ("P(D: real > fake)", False),
    "diversity": ("diversity of samples", True),
    "generator_signal": ("share of G's loss that passes", True),
    "pixel_freedom": ("freedom of G's pixels", True),
    "logit_spread": ("spread of D's logits", True),
    "magnitude": ("log10 of the largest number", False),
    "gradient_ratio": ("gradient of G over D", True),
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

    title, logarithmic = PANELS[name]
    pairs = [(row["images"], row[f"health/{name}"]) for row in rows if f"health/{name}" in row]
    images, values = zip(*pairs, strict=True)
    if logarithmic and max(values) > WIDE * max(min(values), LEAST):
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
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_formatter(_thousands)
    axes.grid(alpha=0.25)


def _thousands(images: float, _: int = 0) -> str:
    return f"{images / 1000:g}k" if images else "0"
