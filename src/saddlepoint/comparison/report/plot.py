"""The figures of a comparison: every seed with its arm's interval, learning curves, effects, sample grids.

The band of a mean over n seeds is Student's:  mean +- t(n - 1) s / sqrt(n)        (Student 1908, Biometrika 6)

Each function returns PNG bytes at 150 dpi and uses no global pyplot figure.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import EngFormatter
from PIL import Image
from scipy import stats

from saddlepoint.comparison.arms.arm import Arm, ScoredRun
from saddlepoint.comparison.report import canvas
from saddlepoint.comparison.stats.factorial import Effect
from saddlepoint.comparison.stats.interval import Estimate, Interval


def plot_seeds(
    arms: Sequence[Arm],
    estimates: Mapping[str, Estimate],
    metric: str,
    lower_is_better: bool,
    baseline: str | None = None,
) -> bytes:
    """Draw a row per arm: a dot per run, a cross for a failed run, and below them the mean with its interval.

    `estimates` are by the name of the arm; one without an interval is not drawn. A dotted line marks the baseline's
    mean in all rows. A failed run without any score is drawn at the worse edge.
    """
    names = [f"{arm.name} (baseline)" if arm.name == baseline else arm.name for arm in arms]
    figure, axes, centres = canvas.row_figure(names, least=0.42)
    means = {name: (mean.mean, mean.interval) for name, mean in estimates.items() if mean.interval is not None}
    for arm, y in zip(arms, centres, strict=True):
        if arm.name in means:
            _draw_interval(axes, *means[arm.name], y + 0.12, canvas.INK, "D", "mean and interval")
    if baseline in means:
        mean, _ = means[baseline]
        axes.axvline(mean, color=canvas.GREY, linewidth=1, linestyle=":", zorder=0, label="mean of the baseline")
    values = [value for arm in arms for value in arm.values]
    intervals = [interval for _, interval in means.values()]
    canvas.set_limits(axes, "x", [*values, *(mean for mean, _ in means.values())], intervals)
    worse_edge = axes.get_xlim()[1 if lower_is_better else 0]
    for arm, y in zip(arms, centres, strict=True):
        _draw_runs(axes, arm, y - 0.06, worse_edge)
    axes.set_xlabel(metric_label(metric, lower_is_better), fontsize=9)
    canvas.add_legend(figure, axes)
    return canvas.figure_to_png(figure)


def plot_curves(arms: Sequence[Arm], metric: str, lower_is_better: bool = True, level: float = 0.95) -> bytes:
    """Draw score against images: a thin line per seed, a thick mean with its band; more than 6 arms get a panel each.

    The mean is drawn where every run of an arm has a score: later it would be the mean of the survivors. The curve of a
    failed run ends in a cross.
    """
    means = [mean_band(arm, level) for arm in arms]
    separate = len(arms) > len(canvas.STYLES)
    lines = [np.column_stack((images, mean)) for images, mean, *_ in means if len(images)]
    figure, panels = canvas.panel_figure(len(arms)) if separate else canvas.single_figure(len(arms))
    for i, (arm, axes) in enumerate(zip(arms, panels if separate else panels * len(arms), strict=True)):
        colour, linestyle = (canvas.BLUE, "-") if separate else canvas.STYLES[i]
        if separate:
            grey = LineCollection(lines, colors=canvas.GREY, alpha=0.4, linewidths=0.6, zorder=0)
            axes.add_collection(grey, autolim=False)  # the panel of each arm has its limits
        _draw_curve(axes, arm, means[i], colour, linestyle)
        if separate:
            axes.set_title(canvas.wrap_label(arm.name, 34), fontsize=7, loc="left", y=1.0)
    points = [score for arm in arms for run in arm.runs for _, score in run.curve]
    canvas.set_limits(panels[0], "y", points)  # all panels share their scales
    panels[0].xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.supxlabel("images", fontsize=9)
    figure.supylabel(metric_label(metric, lower_is_better), fontsize=9)
    if separate:
        canvas.place_panels(figure, panels)
    else:
        canvas.add_legend(figure, panels[0], columns=1 if max((len(arm.name) for arm in arms), default=0) > 38 else 2)
    return canvas.figure_to_png(figure)


def plot_effects(effects: Mapping[str, Effect], metric: str, lower_is_better: bool) -> bytes:
    """Draw a row per effect with its interval and a line at zero; the title marks the better side.

    The marker is filled if the interval excludes zero, and hollow if it contains zero or there is none.
    """
    figure, axes, centres = canvas.row_figure([*effects], least=0.32)
    axes.axvline(0, color=canvas.INK, linewidth=1, zorder=0)
    for effect, y in zip(effects.values(), centres, strict=True):
        _draw_interval(axes, effect.effect, effect.interval, y, *_effect_style(effect.interval, lower_is_better))
    intervals = [effect.interval for effect in effects.values() if effect.interval is not None]
    canvas.set_limits(axes, "x", [0.0, *(effect.effect for effect in effects.values())], intervals, log=False)
    right_axes = axes.twinx()
    right_axes.set_ylim(axes.get_ylim())
    labels = [_format_effect(effect.effect, effect.interval) for effect in effects.values()]
    right_axes.set_yticks(centres, labels, fontsize=8)
    canvas.hide_frame(right_axes)
    left, right = ("better", "worse") if lower_is_better else ("worse", "better")
    axes.set_title(f"\u2190 {left}", loc="left", fontsize=9)
    axes.set_title(f"{right} \u2192", loc="right", fontsize=9)
    axes.set_xlabel(f"effect on {canvas.escape_mathtext(metric)}", fontsize=9)
    return canvas.figure_to_png(figure)


def plot_grids(arms: Sequence[Arm], kind: str = "grid") -> bytes | None:
    """Draw the `grid` or `pair_grid` of each arm's median run, which the title names; None if no arm has one."""
    runs = [median_run(arm, kind) for arm in arms]
    medians = [(run, None if run is None else _load_pixels(getattr(run, kind))) for run in runs]
    if all(image is None for _, image in medians):
        return None
    columns = min(len(arms), 4)
    width = 9.6 / max(columns, 2)
    aspect = max(image.shape[0] / image.shape[1] for _, image in medians if image is not None)
    titles = [canvas.wrap_label(arm.name, int(width * 14)) for arm in arms]
    title_height = canvas.LINE_HEIGHT * (max(text.count("\n") for text in titles) + 2) + 0.1
    n_rows = math.ceil(len(arms) / columns)
    figure = canvas.new_figure(width * columns, n_rows * (width * aspect + title_height))
    for i, (text, (run, image)) in enumerate(zip(titles, medians, strict=True), 1):
        axes = figure.add_subplot(n_rows, columns, i)
        axes.set_axis_off()
        axes.set_anchor("S")  # the space for a title is above
        if image is None or run is None:
            axes.set_box_aspect(aspect)
            axes.set_title(f"{text}\nno samples", fontsize=8, loc="left")
        else:
            axes.imshow(image)
            failure = f", {run.outcome}" if run.failed else ""
            axes.set_title(f"{text}\nseed {run.seed}: {run.value:.4g}{failure}", fontsize=8, loc="left")
    return canvas.figure_to_png(figure)


def plot_against(
    arms: Sequence[Arm], scores: Sequence[Sequence[tuple[float, float]]], x: str, y: str, connect: bool
) -> bytes:
    """Draw one score of each run against another: dots, and per arm the means with their 95% t-intervals.

    scores   of each arm, a pair (x, y) per run
    connect  whether a line joins the means in the order of the arms
    x, y     labels of the axes
    """
    figure, (axes,) = canvas.single_figure(0)
    means = [np.mean(pairs, axis=0) for pairs in scores]
    if connect:
        axes.plot(*zip(*means, strict=True), color=canvas.GREY, linewidth=1, zorder=0)
    for i, (arm, pairs, mean) in enumerate(zip(arms, scores, means, strict=True)):
        colour = canvas.STYLES[i % len(canvas.STYLES)][0]
        axes.plot(*zip(*pairs, strict=True), "o", color=colour, markersize=4, alpha=0.6, linestyle="none")
        half = [0.0, 0.0]
        if (n := len(pairs)) > 1:
            half = stats.t.ppf(0.975, n - 1) * np.std(pairs, axis=0, ddof=1) / math.sqrt(n)
        axes.errorbar(*mean, xerr=half[0], yerr=half[1], fmt="D", color=colour, markersize=5, capsize=3, linewidth=1.4)
        text = canvas.wrap_label(arm.name, 30)
        axes.annotate(text, mean, xytext=(7, 5), textcoords="offset points", fontsize=8, color=colour)
    axes.margins(0.12)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    return canvas.figure_to_png(figure)


def median_run(arm: Arm, kind: str = "grid") -> ScoredRun | None:
    """Return the run with a picture `kind` whose value is nearest to the median of such runs; the first of equals."""
    runs = [r for r in arm.runs if (p := getattr(r, kind)) is not None and p.is_file() and math.isfinite(r.value)]
    median = float(np.median([run.value for run in runs])) if runs else 0.0
    return min(runs, key=lambda run: abs(run.value - median), default=None)


def mean_band(arm: Arm, level: float = 0.95) -> tuple[list[int], list[float], list[float]]:
    """Return the images at which all seeds have a score, the mean, and half the width of its band; 0 if n = 1."""
    curves = [{images: score for images, score in run.curve if math.isfinite(score)} for run in arm.runs]
    common = sorted(set.intersection(*map(set, curves))) if curves else []
    n = len(curves)
    scores = np.array([[curve[images] for curve in curves] for images in common]).reshape(len(common), n)
    if not common or n < 2:
        return common, scores[:, 0].tolist() if common else [], [0.0] * len(common)
    half = stats.t.ppf((1 + level) / 2, n - 1) * scores.std(axis=1, ddof=1) / math.sqrt(n)
    return common, scores.mean(axis=1).tolist(), half.tolist()


def _load_pixels(path: Path) -> np.ndarray | None:
    """Return the pixels of a picture, [H, W, 3]; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError:  # a run that was killed while writing leaves a truncated file
        return None


def metric_label(metric: str, lower_is_better: bool) -> str:
    """Return the label of an axis, with the direction of the metric."""
    return f"{canvas.escape_mathtext(metric)} ({'lower' if lower_is_better else 'higher'} is better)"


def _format_effect(effect: float, interval: Interval | None) -> str:
    ends = "" if interval is None else f" [{interval.low:.3g}, {interval.high:.3g}]"
    return f"{effect:+.3g}{ends}".replace("-", "\u2212")


def _effect_style(interval: Interval | None, lower_is_better: bool) -> tuple[str, str]:
    """Return colour and marker of an effect: better, worse or undecided."""
    if interval is None or interval.low <= 0 <= interval.high:
        return canvas.GREY, "o"
    return (canvas.GREEN, "D") if (interval.high < 0) == lower_is_better else (canvas.VERMILLION, "s")


def _draw_runs(axes: Axes, arm: Arm, y: float, worse_edge: float) -> None:
    """Draw the runs of an arm, shifted slightly so that equal values are visible; infinite values at the edge."""
    for i, run in enumerate(arm.runs):
        marker, colour, label = "o", canvas.BLUE, "run"
        if run.failed:
            marker, colour, label = "x", canvas.VERMILLION, "run that failed"
        edge: dict[str, Any] = {} if run.failed else {"markeredgecolor": "white", "markeredgewidth": 0.5}
        finite = math.isfinite(run.value)
        style = {"color": colour, "markersize": 6, "alpha": 0.85, "linestyle": "none", "label": label, **edge}
        axes.plot(run.value if finite else worse_edge, y + 0.035 * (i % 3 - 1), marker, clip_on=finite, **style)


def _draw_interval(
    axes: Axes, mean: float, interval: Interval | None, y: float, colour: str, marker: str, label: str = ""
) -> None:
    ends = (interval.low, interval.high) if interval else (mean, mean)
    axes.plot(ends, [y, y], "|-", color=colour, linewidth=1.6, markersize=6, solid_capstyle="butt")
    face = "white" if marker == "o" else colour
    axes.plot(mean, y, marker, color=colour, markerfacecolor=face, markersize=5, linestyle="none", label=label)


def _draw_curve(
    axes: Axes, arm: Arm, band: tuple[list[int], list[float], list[float]], colour: str, linestyle: str
) -> None:
    for run in arm.runs:
        points = [(images, score) for images, score in run.curve if math.isfinite(score)]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=linestyle, alpha=0.45, linewidth=0.7)
        if points and run.failed:
            axes.plot(*points[-1], "x", color=colour, markersize=6, markeredgewidth=1.5)
    images, mean, half = band
    low, high = np.subtract(mean, half), np.add(mean, half)
    axes.fill_between(images, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(images, mean, color=colour, linestyle=linestyle, linewidth=2, label=canvas.wrap_label(arm.name, 90))
