"""The closest samples beside their nearest training and held-out images, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image
from torch import Tensor

from saddlepoint.evaluation.memorisation_alarm import Space, score
from saddlepoint.evaluation.memorisation_reading import Sets
from saddlepoint.modality.modality import drawn

SHOWN = 10  # samples in the picture


def closest(sets: Sets, found: Mapping[str, Space]) -> Image.Image:
    """Rows of a sample, its nearest training images in each space, and its nearest held-out image; closest first."""
    from matplotlib.figure import Figure

    pixels, train = found["pixels"], sets.inside(sets.train)
    scores = score(pixels.sample_train)
    rows = scores.argsort(stable=True)[:SHOWN]
    near, held = pixels.sample_train.at(rows), pixels.sample_held.at(rows)
    columns: list[tuple[str, Tensor, Tensor, Tensor | None]] = [
        ("sample", sets.inside(sets.samples), rows, scores[rows]),
        ("nearest training,\npixels", train, near.index[:, 0], near.distance[:, 0]),
        ("nearest held-out,\npixels", sets.inside(sets.held), held.index[:, 0], held.distance[:, 0]),
    ]
    if "features" in found:
        columns.insert(2, ("nearest training,\nfeatures", train, found["features"].sample_train.index[rows, 0], None))
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
    return drawn(figure)
