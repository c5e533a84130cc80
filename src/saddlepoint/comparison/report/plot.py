"""The drawings of a comparison: every seed beside its arm's interval, learning curves, effects, sample grids.

The band of a mean over n seeds is Student's:  mean +- t(n - 1) s / sqrt(n)        (Student 1908, Biometrika 6)

Each function returns the bytes of a PNG at 150 dpi, drawn on a figure of its own, never on pyplot's.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
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
    """A row per arm: a dot for every run, a cross for one that failed, and below them the mean with its interval.

    `estimates` are by the arm's name; one without an interval is not drawn.  The baseline's mean crosses all rows.  A
    failed run without any score stands at the worse edge.
    """
    names = [f"{arm.name} (baseline)" if arm.name == baseline else arm.name for arm in arms]
    figure, axes, places = canvas.row_figure(names, least=0.42)
    means = {name: (one.mean, one.interval) for name, one in estimates.items() if one.interval is not None}
    for arm, place in zip(arms, places, strict=True):
        if arm.name in means:
            _interval(axes, *means[arm.name], place + 0.12, canvas.INK, "D", "mean and interval")
    if baseline in means:
        mean, _ = means[baseline]
        axes.axvline(mean, color=canvas.GREY, linewidth=1, linestyle=":", zorder=0, label="mean of the baseline")
    values = [value for arm in arms for value in arm.values]
    canvas.set_limits(axes, "x", [*values, *(mean for mean, _ in means.values())], [own for _, own in means.values()])
    worse = axes.get_xlim()[1 if lower_is_better else 0]
    for arm, place in zip(arms, places, strict=True):
        _runs(axes, arm, place - 0.06, worse)
    axes.set_xlabel(_worth(metric, lower_is_better), fontsize=9)
    canvas.add_legend(figure, axes)
    return canvas.figure_to_png(figure)


def plot_curves(arms: Sequence[Arm], metric: str, lower_is_better: bool = True, level: float = 0.95) -> bytes:
    """Score against images: each seed thin, the mean over seeds thick in its band; up to 6 arms together, else apart.

    The mean stands where every run of an arm has a score: once a run has ended it would be that of the survivors.
    A curve whose run failed ends in a cross.
    """
    means = [mean_band(arm, level) for arm in arms]
    apart = len(arms) > len(canvas.STYLES)
    figure, places = canvas.panel_figure(len(arms)) if apart else canvas.single_figure(len(arms))
    for i, (arm, axes) in enumerate(zip(arms, places if apart else places * len(arms), strict=True)):
        colour, line = (canvas.BLUE, "-") if apart else canvas.STYLES[i]
        for other in means if apart else ():
            axes.plot(other[0], other[1], color=canvas.GREY, alpha=0.4, linewidth=0.6, zorder=0)
        _curve(axes, arm, means[i], colour, line)
        if apart:
            axes.set_title(canvas.wrap_label(arm.name, 34), fontsize=7, loc="left")
    points = [score for arm in arms for entry in arm.entries for _, score in entry.curve]
    for axes in places:
        canvas.set_limits(axes, "y", points)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.supxlabel("images", fontsize=9)
    figure.supylabel(_worth(metric, lower_is_better), fontsize=9)
    if not apart:
        canvas.add_legend(figure, places[0], columns=1 if max((len(arm.name) for arm in arms), default=0) > 38 else 2)
    return canvas.figure_to_png(figure)


def plot_effects(contrasts: Mapping[str, Effect], metric: str, lower_is_better: bool) -> bytes:
    """A row per contrast: the effect, its interval and a line at zero; which side is better stands on top.

    Filled where the interval leaves out zero, hollow where it holds it or there is none.
    """
    figure, axes, places = canvas.row_figure([*contrasts], least=0.32)
    axes.axvline(0, color=canvas.INK, linewidth=1, zorder=0)
    found = contrasts.values()
    for one, place in zip(found, places, strict=True):
        _interval(axes, one.effect, one.interval, place, *_verdict(one.interval, lower_is_better))
    known = [one.interval for one in found if one.interval is not None]
    canvas.set_limits(axes, "x", [0.0, *(one.effect for one in found)], known, log=False)
    beside = axes.twinx()
    beside.set_ylim(axes.get_ylim())
    beside.set_yticks(places, [_told(one.effect, one.interval) for one in found], fontsize=8)
    canvas.hide_frame(beside)
    left, right = ("better", "worse") if lower_is_better else ("worse", "better")
    axes.set_title(f"\u2190 {left}", loc="left", fontsize=9)
    axes.set_title(f"{right} \u2192", loc="right", fontsize=9)
    axes.set_xlabel(f"effect on {canvas.escape_mathtext(metric)}", fontsize=9)
    return canvas.figure_to_png(figure)


def plot_grids(arms: Sequence[Arm]) -> bytes | None:
    """The sample grids side by side, one per arm: its median run's, named in the title; None where no arm has any."""
    chosen = [(arm, entry, _pixels(entry)) for arm, entry in ((arm, median_run(arm)) for arm in arms)]
    if all(image is None for _, _, image in chosen):
        return None
    columns = min(len(arms), 4)
    width = 9.6 / max(columns, 2)
    tall = max(image.shape[0] / image.shape[1] for _, _, image in chosen if image is not None)
    titles = [canvas.wrap_label(arm.name, int(width * 14)) for arm in arms]
    title = canvas.LINE_HEIGHT * (max(text.count("\n") for text in titles) + 2) + 0.1
    lines = math.ceil(len(arms) / columns)
    figure = canvas.new_figure(width * columns, lines * (width * tall + title))
    for i, (text, (_, entry, image)) in enumerate(zip(titles, chosen, strict=True), 1):
        axes = figure.add_subplot(lines, columns, i)
        axes.set_axis_off()
        axes.set_anchor("S")  # the room that a title needs is above
        if image is None or entry is None:
            axes.set_box_aspect(tall)
            axes.set_title(f"{text}\nno samples", fontsize=8, loc="left")
        else:
            axes.imshow(image)
            failure = f", {entry.outcome}" if entry.failed else ""
            axes.set_title(f"{text}\nseed {entry.seed}: {entry.value:.4g}{failure}", fontsize=8, loc="left")
    return canvas.figure_to_png(figure)


def median_run(arm: Arm) -> ScoredRun | None:
    """Of the runs that left a sample grid, the one whose value is nearest to their median; the first of two alike."""
    drawn = [e for e in arm.entries if e.grid is not None and e.grid.is_file() and math.isfinite(e.value)]
    middle = float(np.median([entry.value for entry in drawn])) if drawn else 0.0
    return min(drawn, key=lambda entry: abs(entry.value - middle), default=None)


def mean_band(arm: Arm, level: float = 0.95) -> tuple[list[int], list[float], list[float]]:
    """Images, the mean over an arm's seeds, and half the width of its band (0 for one seed), where all have a score."""
    known = [{images: score for images, score in e.curve if math.isfinite(score)} for e in arm.entries]
    common = sorted(set.intersection(*map(set, known))) if known else []
    n = len(known)
    scores = np.array([[curve[images] for curve in known] for images in common]).reshape(len(common), n)
    if not common or n < 2:
        return common, scores[:, 0].tolist() if common else [], [0.0] * len(common)
    half = stats.t.ppf((1 + level) / 2, n - 1) * scores.std(axis=1, ddof=1) / math.sqrt(n)
    return common, scores.mean(axis=1).tolist(), half.tolist()


def _pixels(entry: ScoredRun | None) -> np.ndarray | None:
    """[H, W, 3]; None where the run has no grid that can be read."""
    if entry is None or entry.grid is None:
        return None
    try:
        with Image.open(entry.grid) as image:
            return np.asarray(image.convert("RGB"))
    except OSError:  # left by a run that was killed while it wrote
        return None


def _worth(metric: str, lower_is_better: bool) -> str:
    return f"{canvas.escape_mathtext(metric)} ({'lower' if lower_is_better else 'higher'} is better)"


def _told(effect: float, interval: Interval | None) -> str:
    ends = "" if interval is None else f" [{interval.low:.3g}, {interval.high:.3g}]"
    return f"{effect:+.3g}{ends}".replace("-", "\u2212")


def _verdict(interval: Interval | None, lower_is_better: bool) -> tuple[str, str]:
    """Colour and marker of an effect: better, worse or undecided."""
    if interval is None or interval.low <= 0 <= interval.high:
        return canvas.GREY, "o"
    return (canvas.GREEN, "D") if (interval.high < 0) == lower_is_better else (canvas.VERMILLION, "s")


def _runs(axes: Axes, arm: Arm, place: float, worse: float) -> None:
    """The runs of an arm, moved up and down a little so that equal ones are seen; infinite values at the edge."""
    for i, entry in enumerate(arm.entries):
        marker, colour, label = "o", canvas.BLUE, "run"
        if entry.failed:
            marker, colour, label = "x", canvas.VERMILLION, "run that failed"
        edge: dict[str, Any] = {} if entry.failed else {"markeredgecolor": "white", "markeredgewidth": 0.5}
        finite = math.isfinite(entry.value)
        style = {"color": colour, "markersize": 6, "alpha": 0.85, "linestyle": "none", "label": label, **edge}
        axes.plot(entry.value if finite else worse, place + 0.035 * (i % 3 - 1), marker, clip_on=finite, **style)


def _interval(
    axes: Axes, mean: float, interval: Interval | None, place: float, colour: str, marker: str, label: str = ""
) -> None:
    ends = (interval.low, interval.high) if interval else (mean, mean)
    axes.plot(ends, [place, place], "|-", color=colour, linewidth=1.6, markersize=6, solid_capstyle="butt")
    face = "white" if marker == "o" else colour
    axes.plot(mean, place, marker, color=colour, markerfacecolor=face, markersize=5, linestyle="none", label=label)


def _curve(axes: Axes, arm: Arm, mean: tuple[list[int], list[float], list[float]], colour: str, line: str) -> None:
    for entry in arm.entries:
        known = [(images, score) for images, score in entry.curve if math.isfinite(score)]
        if known:
            axes.plot(*zip(*known, strict=True), color=colour, linestyle=line, alpha=0.45, linewidth=0.7)
        if known and entry.failed:
            axes.plot(*known[-1], "x", color=colour, markersize=6, markeredgewidth=1.5)
    images, middle, half = mean
    low, high = np.subtract(middle, half), np.add(middle, half)
    axes.fill_between(images, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(images, middle, color=colour, linestyle=line, linewidth=2, label=canvas.wrap_label(arm.name, 90))
