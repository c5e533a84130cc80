"""Points: float32 [n, D], both as stored and as network input, drawn as a scatter plot of the first two coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.modality.modality import NOT_FINITE, NPZ_FILE, Modality, figure_to_image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_SHOWN = 2_000  # points in a picture


class Points(Modality):
    """Vectors with unordered, unbounded coordinates."""

    name = "points"
    plural = "points"
    value_description = "coordinates"
    stored_form = "float32 points [n, D]"
    draws_over_reals = True
    suffixes: ClassVar = {".png": "a picture.png", ".npz": NPZ_FILE}

    def has_stored_form(self, x: Tensor) -> bool:
        return x.dtype == torch.float32 and x.ndim == 2

    def to_float(self, x: Tensor) -> Tensor:
        return x

    def to_stored(self, x: Tensor) -> Tensor:
        return x

    def conversion_hint(self, x: Tensor) -> str | None:
        return "use x.to(torch.float32)" if x.dtype == torch.float64 and x.ndim == 2 else None

    def why_not(self, x: Tensor) -> str | None:
        return None if bool(x.isfinite().all()) else NOT_FINITE

    def default_extractor(self, shape: tuple[int, ...], classes: int | None = None) -> str | None:
        return "identity"

    def samples_per_picture(self, rows: int, columns: int) -> int:
        return MAX_SHOWN

    def picture(self, x: Tensor, columns: int = 8, scale: int | None = None, reals: Tensor | None = None) -> Picture:
        """Draw points over the reals, in a square with limits from the reals; one-dimensional points are on a line."""
        from matplotlib.figure import Figure

        def first_two_coordinates(points: Tensor) -> tuple[Any, Any]:
            flat = points.flatten(1).float()
            return flat[:, 0].numpy(), (flat[:, 1] if flat.shape[1] > 1 else torch.zeros(len(flat))).numpy()

        figure = Figure(figsize=(5, 5), dpi=100, layout="tight")
        axes = figure.add_subplot()
        if reals is not None:
            axes.scatter(*first_two_coordinates(reals), s=3, c="#bbbbbb", label="real", rasterized=True)
            limit = 1.3 * max(1.0, float(reals.abs().max()))
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
        axes.scatter(*first_two_coordinates(x), s=3, c="#d1495b", label="generated", rasterized=True)
        axes.set_aspect("equal")
        axes.legend(loc="upper right", markerscale=4)
        return figure_to_image(figure)
