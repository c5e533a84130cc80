"""Helpers for every figure of a comparison: rows and panels, scales, legends, labels, colours.

Colours are those of Okabe & Ito (2008, Color Universal Design), which are safe for colour-blind readers. Colour is
never the only carrier of a meaning. Figures are made without pyplot: there is no global state and no window can open.
"""

import io
import math
import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from saddlepoint.comparison.stats.interval import Interval

DPI = 150  # per inch
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, INK, SHADE = "#8A9099", "#1B1F24", "#F3F5F7"
STYLES = tuple(zip((BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY), ("-", "--", "-.", ":", "-", "--"), strict=True))
RATIO = 20  # values that span more than this are drawn on a log axis
LINE_HEIGHT = 0.17  # inches per line of a label
TITLE_HEIGHT = 0.12  # of a panel


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of this size in inches, by default with a layout that makes room for its labels."""
    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def figure_to_png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes at 150 dpi."""
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)  # unlike savefig, it does not draw all once more to place the axes
    return out.getvalue()


def escape_mathtext(text: str) -> str:
    """Escape dollar signs, so that matplotlib draws no part of the text as an equation."""
    return text.replace("$", r"\$")


def wrap_label(name: str, width: int = 40) -> str:
    """Wrap a name at commas and spaces.

    A list in brackets stays together if it fits on a line; a part longer than a line is broken anywhere.
    """
    lines = [""]
    for part in re.findall(r"(?:\[[^\]]*\]|[^,\s])+[,\s]*|[,\s]+", name):
        fits = len(part.rstrip()) <= width
        members = [part] if fits else re.findall(r"[^,\s]*[,\s]+|[^,\s]+", part)
        for chunk in (member[i : i + width] for member in members for i in range(0, len(member), width)):
            if lines[-1] and len((lines[-1] + chunk).rstrip()) > width:
                lines.append("")
            lines[-1] += chunk
    return escape_mathtext("\n".join(line.strip() for line in lines))


def row_figure(names: Sequence[str], least: float) -> tuple[Figure, Axes, list[float]]:
    """Return a figure with one row per name, its axes, and the centres of the rows; sizes in inches.

    A row is as high as its label needs, and at least `least`.
    """
    labels = [wrap_label(name) for name in names]
    heights = [max(least, LINE_HEIGHT * (label.count("\n") + 1) + 0.1) for label in labels]
    edges = [0.0, *accumulate(heights)]
    centres = [edge - height / 2 for edge, height in zip(edges[1:], heights, strict=True)]
    figure = new_figure(9.0, max(edges[-1], 0.5) + 1.1)
    axes = figure.add_subplot()
    for i, (top, bottom) in enumerate(pairwise(edges)):
        if i % 2:
            axes.axhspan(top, bottom, color=SHADE, zorder=-1, linewidth=0)
    axes.set_ylim(max(edges[-1], 0.5), 0)
    axes.set_yticks(centres, labels, fontsize=8)
    hide_frame(axes)
    return figure, axes, centres


def single_figure(arms: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with one pair of axes, with room above for the legend of so many arms."""
    figure = new_figure(8.0, 4.4 + 0.2 * arms)
    axes = figure.add_subplot()
    hide_frame(axes)
    return figure, [axes]


def panel_figure(n: int, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """Return a figure with n panels of one scale; only the lowest of each column has tick labels.

    Call `place_panels` when all is drawn.
    """
    n_rows = math.ceil(n / columns)
    figure = new_figure(2.6 * columns, 1.9 * n_rows + 0.3, None)  # a layout would measure the text of each panel
    panels = list(figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes in panels[n:]:
        axes.remove()
    for i, axes in enumerate(panels[:n]):
        hide_frame(axes)
        axes.tick_params(labelbottom=i + columns >= n)
    return figure, panels[:n]


def place_panels(figure: Figure, panels: Sequence[Axes], columns: int = 4) -> None:
    """Make room for titles, tick labels and the labels of the figure; call it when all is drawn.

    The panels have one scale, so the tick labels of one in the corner take as much room as those of the others.
    """
    width, height = figure.get_size_inches()
    n_rows = math.ceil(len(panels) / columns)
    corner = panels[(n_rows - 1) * columns]
    inner = corner.get_window_extent()
    box = corner.get_tightbbox(FigureCanvasAgg(figure).get_renderer()) or inner
    left, bottom = ((b - a) / DPI for a, b in ((box.x0, inner.x0), (box.y0, inner.y0)))
    lines = max(axes.get_title(loc="left").count("\n") + 1 for axes in panels)
    title = TITLE_HEIGHT * lines + 0.12
    left, bottom, right = left + 0.45, bottom + 0.3, 0.15  # inches, with the labels of the figure
    panel = (width - left - right) / columns - 0.15, (height - bottom - title) / n_rows - title
    figure.subplots_adjust(
        left / width, bottom / height, 1 - right / width, 1 - title / height,
        wspace=0.15 / panel[0], hspace=(title + 0.05) / panel[1],
    )  # fmt: skip


def hide_frame(axes: Axes) -> None:
    """Hide the top and right edges and the ticks of the y-axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", which="both", length=0)
    axes.tick_params(axis="x", which="both", length=3)
    axes.tick_params(which="both", labelsize=8)


def add_legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """Add a legend above the axes, with each label once."""
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
    """Set limits that contain all values, and the intervals up to one range of the values beyond.

    An interval of two seeds can be twelve times as wide as their distance: it then runs off the figure. The scale is
    logarithmic if the values are positive and span more than a factor of 20, unless `log` is given.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    ends = [end for interval in intervals for end in (interval.low, interval.high)]
    log = low > 0 and high > RATIO * low if log is None else log
    if log:
        shown = [low, high, *(min(max(end, low / 3), high * 3) for end in ends if end > 0)]
        limits = min(shown) / 1.15, max(shown) * 1.15
    else:
        span = (high - low) or abs(high) or 1.0
        shown = [low, high, *(min(max(end, low - span), high + span) for end in ends if not math.isnan(end))]
        limits = min(shown) - 0.05 * span, max(shown) + 0.05 * span
    is_x = direction == "x"
    axis = axes.xaxis if is_x else axes.yaxis
    if log:
        (axes.set_xscale if is_x else axes.set_yscale)("log")
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        # over more decades there is room only for the powers of ten
        axis.set_minor_formatter(StrMethodFormatter("{x:g}") if high < 1e3 * low else NullFormatter())
    (axes.set_xlim if is_x else axes.set_ylim)(*limits)
