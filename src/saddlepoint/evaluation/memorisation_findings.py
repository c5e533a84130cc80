"""What statistics of memorisation say of one set of samples, each beside the same of held-out images; and a picture."""

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
    copy_score,
    find_space_neighbours,
    min_detectable_copies,
)
from saddlepoint.evaluation.memorisation_statistics import (
    MIFID_THRESHOLD,
    assign_cells,
    authenticity,
    copying_statistic,
    distance_ratio,
    mann_whitney_z,
    membership_auc,
    mifid,
    nearest_neighbours,
)
from saddlepoint.extractor.extractor import Features
from saddlepoint.modality import Modality
from saddlepoint.modality.modality import figure_to_image

SHOWN = 10  # samples in the picture
FAR = 3.0  # standard deviations, one in 700 by chance: what is called a sign


@dataclass(frozen=True)
class Finding:
    """One statistic of the samples, the same of held-out images, and what it says; None where it has no value."""

    statistic: str
    samples: float | None
    held_out: float | None
    space: str
    reading: str
    sign: bool  # of copying


@dataclass(frozen=True)
class ImageSets:
    """Samples, training and held-out images, the latter two in random order; features where there is an extractor."""

    samples: Features
    train: Features
    held_out: Features
    extractor_name: str | None  # the extractor's name; None: pixels, or other values, alone
    extractor_is_independent: bool  # whether the extractor learned nothing from these images
    modality: Modality

    @property
    def value_space(self) -> str:
        """What the space of the samples themselves is called."""
        return "pixels" if self.modality.planar else self.modality.name

    def network_input(self, part: Features) -> Tensor:
        """Samples as networks see them, on the CPU."""
        assert part.x is not None
        return self.modality.to_float(part.x.cpu())


def find_neighbours(sets: ImageSets) -> dict[str, SpaceNeighbours]:
    """The spaces in which the alarm looks."""
    samples, train, held = sets.samples, sets.train, sets.held_out
    ours, known, fresh = map(sets.network_input, (samples, train, held))
    found = {sets.value_space: find_space_neighbours(ours, known, fresh, with_moves=sets.modality.planar)}
    if sets.extractor_name is not None:
        found["features"] = find_space_neighbours(
            samples.features, train.features, held.features, exchangeable=sets.extractor_is_independent
        )
    return found


def memorisation_findings(sets: ImageSets, seed: int = 0) -> list[Finding]:
    """The statistics that ask nobody but the samples and the data."""
    rows = _distances(
        sets.value_space,
        sets.network_input(sets.samples),
        sets.network_input(sets.train),
        sets.network_input(sets.held_out),
        seed,
    )
    if sets.extractor_name is None:
        return rows
    samples, train, held = sets.samples.features, sets.train.features, sets.held_out.features
    rows += _distances("features", samples, train, held, seed)
    (ours, _, near), (theirs, _, usual) = mifid(samples, train), mifid(held[: len(samples)], train)
    if usual < MIFID_THRESHOLD:
        text = f"says nothing: by these features fresh images are penalised too ({usual:.3f} < {MIFID_THRESHOLD})"
        return [*rows, Finding("MiFID", _plain(ours), _plain(theirs), "features", text, False)]
    reading = _reading("MiFID", ours, theirs, "features", near < MIFID_THRESHOLD,
                       f"samples point where training images do (mean distance {near:.3f} < {MIFID_THRESHOLD})",
                       f"nothing is penalised (mean distance {near:.3f}), so this is the FID")  # fmt: skip
    return [*rows, reading]


def _distances(name: str, samples: Tensor, train: Tensor, held: Tensor, seed: int) -> list[Finding]:
    """Distance ratio, authenticity and C_T in one space."""
    asked, alike = held[: len(samples)], min(len(train), len(held))
    ours, nearer = _ratios(samples, train[:alike], held[:alike])
    theirs, fresh_nearer = _ratios(asked[:alike], train[:alike], held[:alike], skip=torch.arange(len(asked[:alike])))
    apart = mann_whitney_z(nearer.numpy(), fresh_nearer.numpy())
    to_train, radius = _reach(samples, train)
    fresh, fresh_radius = _reach(asked, train)
    authentic, usual = float(authenticity(to_train, radius)), float(authenticity(fresh, fresh_radius))
    cell_number = max(1, min(20, len(asked) // 100))
    first, second = assign_cells(train, samples, asked, number=cell_number, seed=seed)
    half = len(asked) // 2
    copied, z, full = copying_statistic(to_train, fresh, first, second)
    usually, _, _ = copying_statistic(fresh[half:], fresh[:half], second[half:], second[:half])
    rows = [
        _reading("distance ratio", ours, theirs, name, apart < -FAR,
                 "samples lie nearer to training than to held-out images",
                 "samples lie as near to held-out images as to training images"),
        _reading("authenticity", authentic, usual, name,
                 _difference(authentic, len(to_train), usual, len(fresh)) < -FAR,
                 "more samples than fresh images lie within reach of one training image",
                 "no more samples than fresh images lie within reach of one training image"),
    ]  # fmt: skip
    if not full:
        return [*rows, Finding("C_T", None, _plain(usually), name,
                               f"no cell holds enough images: raise n, now {len(samples):,}", False)]  # fmt: skip
    farther = ", but farther: off the data" if z > FAR else ""
    c_t = _reading("C_T", copied, usually, name, z < -FAR,
                   f"samples lie nearer to training images than fresh ones (z {z:.1f})",
                   f"samples lie no nearer to training images than fresh ones (z {z:+.1f}){farther}",
    )  # fmt: skip
    return [*rows, c_t]


def _reading(
    statistic: str, samples: float, held_out: float, space: str, sign: bool, copies: str, none: str
) -> Finding:
    """A statistic that is a sign of copying, which `copies` tells, or none."""
    text = f"a sign of copying: {copies}" if sign else f"no sign of copying: {none}"
    return Finding(statistic, _plain(samples), _plain(held_out), space, text, sign)


def _ratios(x: Tensor, train: Tensor, held: Tensor, skip: Tensor | None = None) -> tuple[float, Tensor]:
    """The distance ratio, and the ratio of one sample for each image that is nearest to any.

    Samples that crowd about one image all lie on one side of it, by chance, and are no independent witnesses.
    """
    one, other = nearest_neighbours(x, train), nearest_neighbours(x, held, skip=skip)
    to_train, to_held = one.distance[:, 0], other.distance[:, 0]
    nearest = torch.where(to_train <= to_held, one.index[:, 0], len(train) + other.index[:, 0])
    _, first = np.unique(nearest.numpy(), return_index=True)
    each = torch.where(to_train == to_held, 1.0, to_train / to_held)
    return float(distance_ratio(to_train, to_held)), each[torch.from_numpy(first)]


def _reach(x: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """The distance to the nearest training image, and that one's to its own nearest other."""
    found = nearest_neighbours(x, train)
    hit, back = found.index[:, 0].unique(return_inverse=True)
    return found.distance[:, 0], nearest_neighbours(train[hit], train, skip=hit).distance[back, 0]


def _difference(a: float, n: int, b: float, m: int) -> float:
    """z of the difference of two proportions."""
    both = (a * n + b * m) / (n + m)
    error = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
    return (a - b) / error if error else 0.0


def membership_finding(members: Tensor, others: Tensor) -> Finding:
    """Membership, by D's logits of training images, [n], and of held-out ones, [m]."""
    auc, low, high = membership_auc(members, others)
    interval = f"95% interval {low:.3f} to {high:.3f}"
    return _reading("membership AUC", auc, 0.5, "D's logits", low > 0.5,
                    f"D tells training from held-out images ({interval})",
                    f"D cannot tell training from held-out images ({interval})")  # fmt: skip


def alarm_finding(rung: Alarm, sets: ImageSets, level: float) -> Finding:
    """The alarm, and how many copies alone would ring it."""
    n, m = len(sets.samples.features), min(len(sets.samples.features), len(sets.held_out.features))
    few = min_detectable_copies(len(sets.train.features), len(sets.held_out.features), n, m, level)
    tests = f"membership {rung.membership:.2g}, closeness {rung.closeness:.2g}"
    if rung.rings:
        near = rung.closeness <= level / 2
        what = "are copied" if near else "are followed more than chance would, if not copied"
        text = f"the alarm rings: training images {what} ({tests})"
    else:
        text = f"no alarm ({tests}); alone, fewer than {few} copies among {n:,} samples would hardly ring it"
    return Finding("alarm, p", rung.p, level, "all", text, rung.rings)


def findings_table(title: str, rows: Sequence[Finding]) -> Table:
    """What a person reads."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name, side in (("", "left"), ("samples", "right"), ("held-out", "right"), ("in", "left"), ("reading", "left")):
        made.add_column(name, justify=side, no_wrap=name in ("", "samples", "held-out"))  # pyright: ignore[reportArgumentType]
    for row in rows:
        values = ["-" if value is None else f"{value:.3g}" for value in (row.samples, row.held_out)]
        made.add_row(row.statistic, *values, row.space, row.reading, style="bold" if row.sign else None)
    made.caption = (
        "held-out: the same of fresh images; of the AUC, chance; of the alarm, its level\n"
        f"a sign: {FAR:.0f} standard deviations, of independent samples; the alarm does not take that for granted"
    )
    made.caption_justify = "left"
    return made


def draw_closest_samples(sets: ImageSets, found: Mapping[str, SpaceNeighbours]) -> Image.Image:
    """Rows of a sample, its nearest training images in each space, and its nearest held-out image; closest first."""
    from matplotlib.figure import Figure

    pixels, train = found["pixels"], sets.network_input(sets.train)
    scores = copy_score(pixels.sample_to_train)
    rows = scores.argsort(stable=True)[:SHOWN]
    near, held = pixels.sample_to_train.select(rows), pixels.sample_to_held_out.select(rows)
    columns: list[tuple[str, Tensor, Tensor, Tensor | None]] = [
        ("sample", sets.network_input(sets.samples), rows, scores[rows]),
        ("nearest training,\npixels", train, near.index[:, 0], near.distance[:, 0]),
        ("nearest held-out,\npixels", sets.network_input(sets.held_out), held.index[:, 0], held.distance[:, 0]),
    ]
    if "features" in found:
        columns.insert(
            2, ("nearest training,\nfeatures", train, found["features"].sample_to_train.index[rows, 0], None)
        )
    figure = Figure(figsize=(1.5 * len(columns), 1.55 * len(rows) + 0.8), dpi=100, layout="constrained")
    figure.suptitle("closest samples first; pixels: d over moves and mirror images,\n"
                    "s = d to the nearest / d to the tenth nearest", fontsize=8)  # fmt: skip
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for j, (title, x, index, values) in enumerate(columns):
        axes[0, j].set_title(title, fontsize=9)
        for i, which in enumerate(index.tolist()):
            image = x[which].add(1).div(2).permute(1, 2, 0).clamp(0, 1).numpy()
            axes[i, j].imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
            axes[i, j].set(xticks=[], yticks=[])
            if values is not None:
                axes[i, j].set_xlabel(f"{'d' if j else 's'} {float(values[i]):.3f}", fontsize=8)
    return figure_to_image(figure)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
