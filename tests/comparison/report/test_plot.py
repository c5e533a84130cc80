"""Figures: bands, limits and labels, and that every shape of comparison can be plotted."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from saddlepoint.comparison.arms.arm import COLLAPSED, DIVERGED, FINISHED, Arm, ScoredRun
from saddlepoint.comparison.report import canvas, plot
from saddlepoint.comparison.stats.factorial import Effect
from saddlepoint.comparison.stats.interval import Estimate, Interval


def scored_run(seed: int, value: float, curve=(), outcome: str = FINISHED, grid: Path | None = None) -> ScoredRun:
    return ScoredRun(Path(), seed, outcome, value, value, 300.0, curve=tuple(curve), grid=grid)


def arm(name: str, *values: float) -> Arm:
    curve = [(0, 300.0), (1000, 50.0)]
    return Arm(name, {}, tuple(scored_run(i, v, [*curve, (2000, v)]) for i, v in enumerate(values)))


def estimate(mean: float, low: float, high: float) -> Estimate:
    return Estimate(3, mean, None, None, Interval(low, high))


def effect(effect: float, *ends: float) -> Effect:
    return Effect(("a",), ("b",), effect, Interval(*ends) if ends else None, None, 3, 3)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def count_pixels(png: bytes, colour: str) -> int:
    """Count the pixels of exactly this colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels(png) == rgb).all(-1).sum())


def record_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return the list to which the figures of later calls are appended."""
    figures: list[Figure] = []
    to_png = canvas.figure_to_png
    monkeypatch.setattr(canvas, "figure_to_png", lambda figure: figures.append(figure) or to_png(figure))
    return figures


def test_a_band_is_students_interval_of_the_mean() -> None:
    images, mean, half = plot.mean_band(arm("a", 10.0, 12.0, 14.0))
    assert images == [0, 1000, 2000]
    assert mean == [300.0, 50.0, 12.0]
    # t(0.975, 2) = 4.302653 (any table); s = 2, n = 3
    assert half == pytest.approx([0, 0, 4.302653 * 2 / math.sqrt(3)], rel=1e-6)


def test_a_mean_stops_where_the_first_run_ends_and_skips_what_one_run_lacks() -> None:
    complete = scored_run(0, 1.0, [(0, 9.0), (10, 8.0), (20, 7.0), (30, 6.0)])
    broken = scored_run(1, 9.0, [(0, 9.0), (20, 5.0), (30, math.nan)], DIVERGED)
    images, mean, _ = plot.mean_band(Arm("a", {}, (complete, broken)))
    assert (images, mean) == ([0, 20], [9.0, 6.0])
    assert plot.mean_band(Arm("a", {}, (complete, scored_run(1, 9.0)))) == ([], [], [])


def test_one_seed_has_a_curve_and_no_band() -> None:
    assert plot.mean_band(arm("a", 4.0)) == ([0, 1000, 2000], [300.0, 50.0, 4.0], [0.0, 0.0, 0.0])


@pytest.mark.parametrize("n", [2, 7])
def test_every_number_of_arms_is_plotted_without_warnings_or_pyplot(n: int) -> None:
    arms = [arm(f"objective=o{i}, regularizer=[r1,r2], optimizer.lr=$0.{i}$", 10.0 + i, 12.0, 11.0) for i in range(n)]
    estimates = {one.name: estimate(11.0, 9.0, 13.0) for one in arms[1:]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for png in (
            plot.plot_seeds(arms, estimates, "fid", True, arms[-1].name),
            plot.plot_curves(arms, "fid"),
            plot.plot_effects({one.name: effect(-1.0, -2.0, 0.5) for one in arms}, "fid", True),
        ):
            with Image.open(io.BytesIO(png)) as image:
                assert image.format == "PNG"
                assert round(image.info["dpi"][0]) == 150
    assert pyplot.get_fignums() == []


def test_a_figure_without_data_is_still_a_figure() -> None:
    empty = Arm("a", {}, (scored_run(0, math.nan, outcome=DIVERGED),))
    assert pixels(plot.plot_seeds([empty], {}, "fid", True)).size
    assert pixels(plot.plot_curves([empty], "fid")).size
    assert pixels(plot.plot_effects({}, "fid", True)).size


def test_a_failed_run_is_a_cross_at_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = record_figures(monkeypatch)
    plot.plot_seeds([Arm("a", {}, (scored_run(0, 1.0), scored_run(1, 2.0, outcome=COLLAPSED)))], {}, "fid", True)
    marks = [(line.get_marker(), float(np.ravel(line.get_xdata())[0])) for line in figures[0].axes[0].get_lines()]
    assert marks == [("o", 1.0), ("x", 2.0)]
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["run", "run that failed"]


@pytest.mark.parametrize(("arms", "axes"), [(6, 1), (7, 7)])
def test_more_than_six_arms_get_a_panel_each(arms: int, axes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(canvas, "figure_to_png", lambda figure: figures.append(figure) or b"")
    plot.plot_curves([arm(str(i), 1.0, 2.0) for i in range(arms)], "fid")
    assert len(figures[0].axes) == axes


@pytest.mark.parametrize(("least", "kind"), [(1.0, "log"), (6.0, "linear"), (-1.0, "linear")])
def test_an_axis_is_logarithmic_if_positive_values_span_more_than_a_factor_of_twenty(
    least: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = record_figures(monkeypatch)
    plot.plot_seeds([arm("a", least, 100.0)], {}, "fid", True)
    assert figures[0].axes[0].get_xscale() == kind


def test_limits_contain_every_run_and_are_not_widened_by_a_wide_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = record_figures(monkeypatch)
    plot.plot_seeds([arm("a", 10.0, 11.0)], {"a": estimate(10.5, -40.0, 60.0)}, "fid", True)
    low, high = figures[0].axes[0].get_xlim()
    assert low < 10.0 < 11.0 < high
    assert high - low < 4.0


@pytest.mark.parametrize(("lower", "left"), [(True, "better"), (False, "worse")])
def test_effects_mark_the_better_side_and_colour_the_decided_ones(
    lower: bool, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = record_figures(monkeypatch)
    effects = {
        "down": effect(-3.0, -4.0, -2.0),
        "up": effect(3.0, 2.0, 4.0),
        "open": effect(1.0, -1.0, 3.0),
        "bare": effect(2.0),
    }
    plot.plot_effects(effects, "fid", lower)
    axes, right_axes = figures[0].axes
    assert left in axes.get_title(loc="left")
    marks = [line for line in axes.get_lines() if line.get_marker() in ("D", "s", "o")]
    better, worse = ("D", canvas.GREEN), ("s", canvas.VERMILLION)
    decided = [better, worse] if lower else [worse, better]
    assert [(m.get_marker(), m.get_color()) for m in marks] == [*decided, ("o", canvas.GREY), ("o", canvas.GREY)]
    assert right_axes.get_yticklabels()[0].get_text() == "\u22123 [\u22124, \u22122]"
    assert right_axes.get_yticklabels()[3].get_text() == "+2"


def test_grids_show_and_name_the_run_nearest_to_the_median(tmp_path: Path, monkeypatch) -> None:
    figures = record_figures(monkeypatch)
    hues = {0: (255, 0, 0), 1: (0, 255, 0), 2: (0, 0, 255)}
    for seed, hue in hues.items():
        Image.new("RGB", (40, 40), hue).save(tmp_path / f"{seed}.png")
    runs = tuple(scored_run(i, v, grid=tmp_path / f"{i}.png") for i, v in enumerate((30.0, 10.0, 20.0)))
    png = plot.plot_grids([Arm("a", {}, runs), arm("b", 1.0)])
    assert png is not None
    assert count_pixels(png, "#0000ff") > 10_000
    assert count_pixels(png, "#ff0000") == count_pixels(png, "#00ff00") == 0
    assert [axes.get_title(loc="left") for axes in figures[0].axes] == ["a\nseed 2: 20", "b\nno samples"]


def test_arms_without_readable_grids_have_no_figure(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    torn = Arm(
        "a", {}, (scored_run(0, 1.0, grid=tmp_path / "torn.png"), scored_run(1, 2.0, grid=tmp_path / "absent.png"))
    )
    assert plot.plot_grids([torn]) is None
    assert plot.plot_grids([]) is None


def test_a_label_is_wrapped_after_commas_and_keeps_every_character() -> None:
    name = "objective=hinge, regularizer=[r1,r2], optimizer.discriminator.lr=0.0004"
    label = canvas.wrap_label(name, 24)
    assert label.replace("\n", "").replace(" ", "") == name.replace(" ", "")
    assert max(map(len, label.splitlines())) <= 24
    assert "regularizer=[r1,r2]," in label.splitlines()
    assert canvas.wrap_label("a=$x$") == r"a=\$x\$"


@pytest.mark.parametrize("connect", [True, False])
def test_one_score_against_another_has_the_mean_and_interval_of_both(connect: bool, monkeypatch) -> None:
    """Half the interval of 1, 2, 3 is t(2) / sqrt(3) = 2.484; the line joins the means in the order of the arms."""
    figures = record_figures(monkeypatch)
    arms = [Arm("weight=0", {}, ()), Arm("weight=1", {}, ())]
    scores = [[(10.0, 1.0), (20.0, 2.0), (30.0, 3.0)], [(5.0, 9.0)]]
    plot.plot_against(arms, scores, "fid", "psnr", connect)
    (axes,) = figures[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("fid", "psnr")
    assert [text.get_text() for text in axes.texts] == ["weight=0", "weight=1"]
    line = axes.lines[0].get_xydata()
    assert (np.asarray(line).tolist() == [[20, 2], [5, 9]]) is connect
    bars = [container for container in axes.containers if container.has_xerr and container.has_yerr]
    segments = [np.asarray(collection.get_segments()[0]) for collection in bars[0].lines[2]]
    assert segments[0][:, 0] == pytest.approx([20 - 24.84, 20 + 24.84], abs=0.01)
    assert segments[1][:, 1] == pytest.approx([2 - 2.484, 2 + 2.484], abs=0.001)


def test_pairs_are_shown_of_the_median_run_that_has_them(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (0, 0, 255)).save(tmp_path / "pairs.png")
    runs = tuple(replace(scored_run(i, v), pair_grid=tmp_path / "pairs.png") for i, v in enumerate((3.0, 1.0)))
    png = plot.plot_grids([Arm("a", {}, runs)], "pair_grid")
    assert png is not None
    assert count_pixels(png, "#0000ff") > 10_000
    assert plot.plot_grids([Arm("a", {}, runs)]) is None
