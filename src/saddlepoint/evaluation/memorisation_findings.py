"""What the statistics of memorisation mean for a set of samples, compared with held-out images; and a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from rich import box
from rich.table import Table
from torch import Tensor

from saddlepoint.evaluation.memorisation_alarm import (
    Alarm,
    SpaceNeighbours,
    find_space_neighbours,
    min_detectable_copies,
    neighbour_distance_ratio,
)
from saddlepoint.evaluation.memorisation_statistics import (
    MIFID_THRESHOLD,
    copying_statistic,
    distance_ratio,
    kmeans_cells,
    mann_whitney_z,
    membership_auc,
    mifid,
    nearest_neighbours,
)
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.authenticity import authenticity
from saddlepoint.modality import Modality
from saddlepoint.modality.modality import figure_to_image
from saddlepoint.pixel import to_float

SHOWN_SAMPLES = 10  # samples in the picture
SIGN_Z = 3.0  # standard deviations that count as a sign of copying; one in 700 by chance


@dataclass(frozen=True)
class Finding:
    """A statistic of the samples, the same of held-out images, and its interpretation; None if it is undefined."""

    statistic: str
    samples: float | None
    held_out: float | None
    space: str
    reading: str
    sign: bool  # of copying


@dataclass(frozen=True)
class ImageSets:
    """Samples, training and held-out images, the latter two in random order, with features if there is an extractor."""

    samples: Features
    train: Features
    held_out: Features
    extractor_name: str | None  # None: only pixels, or other values, are compared
    extractor_is_independent: bool  # whether the extractor was not trained on these images
    modality: Modality

    @property
    def value_space(self) -> str:
        """Name of the space of the samples themselves."""
        return "pixels" if self.modality.planar else self.modality.name

    def pictures(self, features: Features) -> Tensor:
        """Return the samples of `features` as images in [-1, 1]: of audio, its log-mel spectrograms, low bins below."""
        assert features.x is not None
        images = to_float(self.modality.to_image(features.x.cpu()))
        return images if self.modality.planar else images.flip(2)

    def network_input(self, features: Features) -> Tensor:
        """Return the samples of `features` as networks receive them, on the CPU."""
        assert features.x is not None
        return self.modality.to_float(features.x.cpu())


def find_neighbours(sets: ImageSets) -> dict[str, SpaceNeighbours]:
    """Return the neighbours in each space that the alarm uses, by the name of the space."""
    samples, train, held_out = map(sets.network_input, (sets.samples, sets.train, sets.held_out))
    by_space = {sets.value_space: find_space_neighbours(samples, train, held_out, with_moves=sets.modality.planar)}
    if sets.extractor_name is not None:
        features = sets.samples.features, sets.train.features, sets.held_out.features
        by_space["features"] = find_space_neighbours(*features, exchangeable=sets.extractor_is_independent)
    return by_space


def memorisation_findings(sets: ImageSets, seed: int = 0) -> list[Finding]:
    """Return the statistics that need only the samples and the data."""
    samples, train, held_out = map(sets.network_input, (sets.samples, sets.train, sets.held_out))
    rows = _distance_findings(sets.value_space, samples, train, held_out, seed)
    if sets.extractor_name is None:
        return rows
    samples, train, held_out = sets.samples.features, sets.train.features, sets.held_out.features
    rows += _distance_findings("features", samples, train, held_out, seed)
    of_samples, _, distance = mifid(samples, train)
    of_held_out, _, usual_distance = mifid(held_out[: len(samples)], train)
    if usual_distance < MIFID_THRESHOLD:
        text = f"no information: features of new images are penalised too ({usual_distance:.3f} < {MIFID_THRESHOLD})"
        return [
            *rows,
            Finding("MiFID", _finite_or_none(of_samples), _finite_or_none(of_held_out), "features", text, False),
        ]
    finding = _build_finding("MiFID", of_samples, of_held_out, "features", distance < MIFID_THRESHOLD,
                       f"features are parallel to training images' (mean distance {distance:.3f} < {MIFID_THRESHOLD})",
                       f"nothing is penalised (mean distance {distance:.3f}), so this is the FID of "
                       f"{len(samples):,} samples")  # fmt: skip
    return [*rows, finding]


def _distance_findings(name: str, samples: Tensor, train: Tensor, held_out: Tensor, seed: int) -> list[Finding]:
    """Distance ratio, authenticity and C_T in one space."""
    fresh, n = held_out[: len(samples)], min(len(train), len(held_out))
    ratio, ratios = _distance_ratios(samples, train[:n], held_out[:n])
    fresh_ratio, fresh_ratios = _distance_ratios(fresh[:n], train[:n], held_out[:n], skip=torch.arange(len(fresh[:n])))
    ratio_z = mann_whitney_z(ratios.numpy(), fresh_ratios.numpy())
    to_train, radius = _distance_and_radius(samples, train)
    fresh_to_train, fresh_radius = _distance_and_radius(fresh, train)
    authentic, usual = float(authenticity(to_train, radius)), float(authenticity(fresh_to_train, fresh_radius))
    cell_number = max(1, min(20, len(fresh) // 100))
    cell, fresh_cell = kmeans_cells(train, samples, fresh, number=cell_number, seed=seed)
    half = len(fresh) // 2
    c_t, z, cells_used = copying_statistic(to_train, fresh_to_train, cell, fresh_cell)
    fresh_c_t, _, _ = copying_statistic(
        fresh_to_train[half:], fresh_to_train[:half], fresh_cell[half:], fresh_cell[:half]
    )
    rows = [
        _build_finding("distance ratio", ratio, fresh_ratio, name, ratio_z < -SIGN_Z,
                 "samples lie nearer to training than to held-out images",
                 "samples lie as near to held-out images as to training images"),
        _build_finding("authenticity", authentic, usual, name,
                 _proportions_z(authentic, len(to_train), usual, len(fresh_to_train)) < -SIGN_Z,
                 "more samples than new images lie within the radius of a training image",
                 "no more samples than new images lie within the radius of a training image"),
    ]  # fmt: skip
    if not cells_used:
        return [*rows, Finding("C_T", None, _finite_or_none(fresh_c_t), name,
                               f"no cell has enough images: raise n, now {len(samples):,}", False)]  # fmt: skip
    farther = ", but farther: off the data" if z > SIGN_Z else ""
    c_t_finding = _build_finding("C_T", c_t, fresh_c_t, name, z < -SIGN_Z,
                           f"samples lie nearer to training images than new ones (z {z:.1f})",
                           f"samples lie no nearer to training images than new ones (z {z:+.1f}){farther}")  # fmt: skip
    return [*rows, c_t_finding]


def _build_finding(
    statistic: str, samples: float, held_out: float, space: str, sign: bool, copies: str, none: str
) -> Finding:
    """Build a finding with the text `copies` if it is a sign of copying, and `none` otherwise."""
    text = f"a sign of copying: {copies}" if sign else f"no sign of copying: {none}"
    return Finding(statistic, _finite_or_none(samples), _finite_or_none(held_out), space, text, sign)


def _distance_ratios(x: Tensor, train: Tensor, held_out: Tensor, skip: Tensor | None = None) -> tuple[float, Tensor]:
    """Return the distance ratio, and the ratio of one sample per image that is the nearest of any.

    Samples around one image all have a ratio on the same side of 1, by chance, so they are not independent.
    """
    train_neighbours, held_out_neighbours = nearest_neighbours(x, train), nearest_neighbours(x, held_out, skip=skip)
    to_train, to_held_out = train_neighbours.distance[:, 0], held_out_neighbours.distance[:, 0]
    nearest_held_out = len(train) + held_out_neighbours.index[:, 0]
    nearest = torch.where(to_train <= to_held_out, train_neighbours.index[:, 0], nearest_held_out)
    _, first = np.unique(nearest.numpy(), return_index=True)
    ratios = torch.where(to_train == to_held_out, 1.0, to_train / to_held_out)
    return float(distance_ratio(to_train, to_held_out)), ratios[torch.from_numpy(first)]


def _distance_and_radius(x: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance to the nearest training image, and the distance of that one to its nearest other."""
    neighbours = nearest_neighbours(x, train)
    nearest, back = neighbours.index[:, 0].unique(return_inverse=True)
    return neighbours.distance[:, 0], nearest_neighbours(train[nearest], train, skip=nearest).distance[back, 0]


def _proportions_z(a: float, n: int, b: float, m: int) -> float:
    """z of the difference of two proportions."""
    pooled = (a * n + b * m) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return (a - b) / error if error else 0.0


def membership_finding(members: Tensor, others: Tensor) -> Finding:
    """Return the membership AUC of D's logits of training images [n] and of held-out images [m]."""
    auc, low, high = membership_auc(members, others)
    interval = f"95% interval {low:.3f} to {high:.3f}"
    return _build_finding("membership AUC", auc, 0.5, "D's logits", low > 0.5,
                    f"D separates training from held-out images ({interval})",
                    f"D does not separate training from held-out images ({interval})")  # fmt: skip


def alarm_finding(alarm: Alarm, sets: ImageSets, level: float) -> Finding:
    """Return the p of the alarm, and, if it is not raised, how many copies alone would raise it."""
    n, m = len(sets.samples.features), min(len(sets.samples.features), len(sets.held_out.features))
    few = min_detectable_copies(len(sets.train.features), len(sets.held_out.features), n, m, level)
    tests = f"membership {alarm.membership:.2g}, closeness {alarm.closeness:.2g}"
    if alarm.rings:
        what = "are copied" if alarm.closeness <= level / 2 else "are followed more than by chance, if not copied"
        text = f"alarm: training images {what} ({tests})"
    else:
        text = f"no alarm ({tests}); fewer than {few} copies among {n:,} samples are unlikely to raise it"
    return Finding("alarm, p", alarm.p, level, "all", text, alarm.rings)


def findings_table(title: str, rows: Sequence[Finding]) -> Table:
    """Return the findings as a table for the console."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name, side in (("", "left"), ("samples", "right"), ("held-out", "right"), ("in", "left"), ("reading", "left")):
        table.add_column(name, justify=side, no_wrap=name in ("", "samples", "held-out"))  # pyright: ignore[reportArgumentType]
    for row in rows:
        values = ["-" if value is None else f"{value:.3g}" for value in (row.samples, row.held_out)]
        table.add_row(row.statistic, *values, row.space, row.reading, style="bold" if row.sign else None)
    table.caption = (
        "held-out: the statistic of held-out images; for the AUC, chance; for the alarm, its level\n"
        f"a sign: {SIGN_Z:.0f} standard deviations, if samples are independent; of the AUC, an interval above chance; "
        "several signs are looked at, so the alarm decides: its rate of false alarms is its level"
    )
    table.caption_justify = "left"
    return table


def draw_closest_samples(sets: ImageSets, by_space: Mapping[str, SpaceNeighbours]) -> Image.Image:
    """Draw the samples closest to training images, with their nearest training and held-out images; closest first."""
    from matplotlib.figure import Figure

    space, unit = by_space[sets.value_space], "pixels" if sets.modality.planar else "values"
    train = sets.pictures(sets.train)
    scores = neighbour_distance_ratio(space.sample_to_train)
    rows = scores.argsort(stable=True)[:SHOWN_SAMPLES]
    near, held_out = space.sample_to_train.select(rows), space.sample_to_held_out.select(rows)
    columns: list[tuple[str, Tensor, Tensor, Tensor | None]] = [
        ("sample", sets.pictures(sets.samples), rows, scores[rows]),
        (f"nearest training,\n{unit}", train, near.index[:, 0], near.distance[:, 0]),
        (f"nearest held-out,\n{unit}", sets.pictures(sets.held_out), held_out.index[:, 0], held_out.distance[:, 0]),
    ]
    if "features" in by_space:
        columns.insert(
            2, ("nearest training,\nfeatures", train, by_space["features"].sample_to_train.index[rows, 0], None)
        )
    figure = Figure(figsize=(1.5 * len(columns), 1.55 * len(rows) + 0.8), dpi=100, layout="constrained")
    moves = "; pixels: d over shifts and mirror images" if sets.modality.planar else ""
    figure.suptitle(f"closest samples first{moves},\ns = d to the nearest / d to the tenth nearest", fontsize=8)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for j, (title, x, index, values) in enumerate(columns):
        axes[0, j].set_title(title, fontsize=9)
        for i, row in enumerate(index.tolist()):
            image = x[row].add(1).div(2).permute(1, 2, 0).clamp(0, 1).numpy()
            axes[i, j].imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
            axes[i, j].set(xticks=[], yticks=[])
            if values is not None:
                axes[i, j].set_xlabel(f"{'d' if j else 's'} {float(values[i]):.3f}", fontsize=8)
    return figure_to_image(figure)


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
