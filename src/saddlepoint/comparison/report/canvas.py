"""What every drawing of a comparison stands on: figures, rows and panels, scales, legends, labels, colours.

Colours are Okabe & Ito's (2008, Color Universal Design), which the colour-blind tell apart.
No meaning hangs on a colour alone.
Figures are made without pyplot, so nothing global is touched and no window can open.
"""

import io
import math
import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from saddlepoint.comparison.stats.interval import Interval

DOTS = 150  # per inch
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, INK, SHADE = "#8A9099", "#1B1F24", "#F3F5F7"
STYLES = tuple(zip((BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY), ("-", "--", "-.", ":", "-", "--"), strict=True))
RATIO = 20  # values that span more than this are drawn on a log axis
LINE_HEIGHT = 0.17  # inches that a line of a label takes


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that makes room for its labels by itself."""
    return Figure(figsize=(width, height), dpi=DOTS, layout="constrained", facecolor="white")


def figure_to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG at 150 dpi."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DOTS)
    return out.getvalue()


def escape_mathtext(text: str) -> str:
    """The text, of which no part is read as an equation."""
    return text.replace("$", r"\$")


def wrap_label(name: str, width: int = 40) -> str:
    """A name over as many lines as it takes, broken behind commas and spaces.

    A list in brackets stays together where it fits on a line, and a part longer than a line is broken anywhere.
    """
    lines = [""]
    for part in re.findall(r"(?:\[[^\]]*\]|[^,\s])+[,\s]*|[,\s]+", name):
        fits = len(part.rstrip()) <= width
        members = [part] if fits else re.findall(r"[^,\s]*[,\s]+|[^,\s]+", part)
        for piece in (member[i : i + width] for member in members for i in range(0, len(member), width)):
            if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return escape_mathtext("\n".join(line.strip() for line in lines))


def row_figure(names: Sequence[str], least: float) -> tuple[Figure, Axes, list[float]]:
    """A figure with a row per name, as high as its label asks for, and the middles of the rows, in inches."""
    labels = [wrap_label(name) for name in names]
    heights = [max(least, LINE_HEIGHT * (label.count("\n") + 1) + 0.1) for label in labels]
    ends = [0.0, *accumulate(heights)]
    places = [end - height / 2 for end, height in zip(ends[1:], heights, strict=True)]
    figure = new_figure(9.0, max(ends[-1], 0.5) + 1.1)
    axes = figure.add_subplot()
    for i, (top, bottom) in enumerate(pairwise(ends)):
        if i % 2:
            axes.axhspan(top, bottom, color=SHADE, zorder=-1, linewidth=0)
    axes.set_ylim(max(ends[-1], 0.5), 0)
    axes.set_yticks(places, labels, fontsize=8)
    hide_frame(axes)
    return figure, axes, places


def single_figure(arms: int) -> tuple[Figure, list[Axes]]:
    """One pair of axes, with room above for the legend of so many arms."""
    figure = new_figure(8.0, 4.4 + 0.2 * arms)
    axes = figure.add_subplot()
    hide_frame(axes)
    return figure, [axes]


def panel_figure(n: int, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A pair of axes each, all of one scale; the lowest of each column bear its numbers."""
    lines = math.ceil(n / columns)
    figure = new_figure(2.6 * columns, 1.9 * lines + 0.3)
    places = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes in places[n:]:
        axes.remove()
    for i, axes in enumerate(places[:n]):
        hide_frame(axes)
        axes.tick_params(labelbottom=i + columns >= n)
    return figure, places[:n]


def hide_frame(axes: Axes) -> None:
    """No frame where it says nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", which="both", length=0)
    axes.tick_params(axis="x", which="both", length=3)
    axes.tick_params(which="both", labelsize=8)


def add_legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """Above the axes, each kind of mark once."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        style = {"loc": "outside upper center", "ncols": columns, "fontsize": 8, "frameon": False}
        figure.legend([*unique.values()], [*unique], **style)


def set_limits(
    axes: Axes,
    direction: Literal["x", "y"],
    values: Sequence[float],
    intervals: Sequence[Interval] = (),
    log: bool | None = None,
) -> None:
    """Limits that hold all values, and the ends of `intervals` as far as one range of the values beyond.

    An interval from two seeds can be twelve times as wide as they are apart: it runs off the page then.
    Log where the values are positive and span more than 20 times, unless `log` says.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    ends = [end for own in intervals for end in (own.low, own.high)]
    log = low > 0 and high > RATIO * low if log is None else log
    if log:
        inside = [low, high, *(min(max(end, low / 3), high * 3) for end in ends if end > 0)]
        limits = min(inside) / 1.15, max(inside) * 1.15
    else:
        span = (high - low) or abs(high) or 1.0
        inside = [low, high, *(min(max(end, low - span), high + span) for end in ends if not math.isnan(end))]
        limits = min(inside) - 0.05 * span, max(inside) + 0.05 * span
    across = direction == "x"
    axis = axes.xaxis if across else axes.yaxis
    if log:
        (axes.set_xscale if across else axes.set_yscale)("log")
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        # over more decades the powers of ten are enough, and there is no room for more
        axis.set_minor_formatter(StrMethodFormatter("{x:g}") if high < 1e3 * low else NullFormatter())
    (axes.set_xlim if across else axes.set_ylim)(*limits)
