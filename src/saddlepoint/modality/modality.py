"""A modality: what kind of thing the samples of a data set are.  Nothing else in the package asks for their rank.

It knows two forms of a sample. The stored form is what files and measurements hold, at full precision: uint8 pixels,
token numbers. The inside form is what networks see, float32 [N, *shape], `shape` the data set's fact `data.shape`.

    stored --inside--> networks --stored--> files, extractors, metrics         stored(inside(x)) = x
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from saddlepoint.error import Mistake

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FOLDER = "/"  # the ending of a folder of files
MAX_IDENTITY_FEATURES = (
    4_096  # the most numbers per sample that are their own features: a covariance of 4,096 takes 134 MB
)
NPZ_FILE = "an array.npz"
NOT_FINITE = "some values are not finite"


class Modality:
    """The base class; a subclass defines at least `name`, `form`, `fits`, `inside` and `stored`.

    name      one word, for people and for the record
    plural    several samples, for people: "images"
    values    what the numbers are that networks see, for people: "pixels in [-1, 1]"
    form      the stored form, for people: "uint8 [n, C, H, W]"
    bounded   whether the values that networks see lie in [-1, 1] and fill it, so that a generator may end in tanh
    planar    whether a sample is rows and columns of pixels, [C, H, W]: it can be mirrored, moved by pixels, resized,
              and classified by the image classifiers of this package
    ordered   whether distances between values have a meaning: not between classes, such as tokens
    beside    whether pictures of samples are drawn over reals
    endings   what files of samples may be: the ending, "/" for a folder, and its name for people; the first is default
    """

    name: ClassVar[str] = "samples"
    plural: ClassVar[str] = "samples"
    value_description: ClassVar[str] = "numbers"
    stored_form: str = "samples"
    bounded: bool = False
    planar: bool = False
    ordered: bool = True
    draws_over_reals: bool = False
    suffixes: ClassVar[Mapping[str, str]] = {".npz": NPZ_FILE, ".png": "a picture.png"}

    def has_stored_form(self, x: Tensor) -> bool:
        """Whether x has the type and the number of axes of the stored form."""
        raise NotImplementedError(f"{type(self).__name__} must define fits(x)")

    def to_float(self, x: Tensor) -> Tensor:
        """Stored x as networks see it, float32 [n, *shape]."""
        raise NotImplementedError(f"{type(self).__name__} must define inside(x)")

    def to_stored(self, x: Tensor) -> Tensor:
        """What networks see in its stored form; values out of range become the nearest in range."""
        raise NotImplementedError(f"{type(self).__name__} must define stored(x)")

    def sample_shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of one sample, as networks see it, of stored x."""
        return tuple(x.shape[1:])

    def conversion_hint(self, x: Tensor) -> str | None:
        """What to do about x that is not of the stored form, for somebody whose data gave it; None where no idea."""
        return None

    def why_not(self, x: Tensor) -> str | None:
        """What keeps x, of the right type and number of axes, from being stored samples: its values; None: nothing."""
        return None

    def to_density_units(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Stored x in the unit of densities: in [0, 1] where there are levels, else as networks see it."""
        return self.to_float(x).to(dtype)

    def comparison_features(self, x: Tensor) -> Tensor:
        """x as networks see it, [N, D], as small as a comparison of many pairs needs."""
        return x.flatten(1).float()

    def default_extractor(self, shape: tuple[int, ...], classes: int | None = None) -> str | None:
        """The name of what measures samples of this shape by default; None where nothing does."""
        return "identity" if int(np.prod(shape)) <= MAX_IDENTITY_FEATURES else None

    def samples_per_picture(self, rows: int, columns: int) -> int:
        """How many samples a picture of rows x columns shows."""
        return rows * columns

    def picture(self, x: Tensor, columns: int = 8, scale: int | None = None, reals: Tensor | None = None) -> Picture:
        """Samples, stored or as networks see them, as one picture.  Here: a row of grey levels for each sample."""
        from PIL import Image

        values = (self.to_float(x) if self.has_stored_form(x) else x).flatten(1).float()
        low, high = values.min(), values.max()
        grey = values.sub(low).div(torch.clamp(high - low, min=1e-12)).mul(255).round().to(torch.uint8)
        return Image.fromarray(grey.repeat_interleave(scale or 4, 0).numpy())

    def file_content(self, x: Tensor, ending: str, columns: int | None = None, labels: Tensor | None = None) -> bytes:
        """The content of one file of this ending that holds all of stored x.  Raises Mistake where it cannot.

        columns  of a picture; labels  the samples' classes, arr_1 of an npz
        """
        if ending == ".npz":
            content = io.BytesIO()
            arrays: dict[str, Any] = self.npz_arrays(x) | ({} if labels is None else {"arr_1": labels.numpy()})
            np.savez(content, **arrays)
            return content.getvalue()
        return png_bytes(self.picture(x, columns or max(1, round(len(x) ** 0.5))))

    def folder_contents(self, x: Tensor) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file in a folder of stored x: one file per sample.  Raises Mistake."""
        raise Mistake(self._no_folder())

    def npz_arrays(self, x: Tensor) -> dict[str, Any]:
        """The arrays of an npz of stored x: arr_0, and what else it takes to read them."""
        return {"arr_0": x.contiguous().numpy()}

    def check_suffix(self, ending: str, shape: tuple[int, ...], n: int = 1) -> None:
        """Raises Mistake where n samples of this shape cannot be written to such a file or folder."""
        if ending not in self.suffixes:
            raise Mistake(self._no_folder() if ending == FOLDER else self.format_destinations())

    def information_loss(self, ending: str) -> str | None:
        """What files of this ending lose of the stored form, for people; None: nothing."""
        return None

    def format_destinations(self) -> str:
        """Where samples can go, for people."""
        *first, last = self.suffixes.values()
        return f"samples go to {', '.join(first)}{' or ' if first else ''}{last}"

    def describe(self) -> dict[str, Any]:
        """Plain facts."""
        return {"name": self.name}

    def _no_folder(self) -> str:
        return f"{self.name} are no pictures: write them to {NPZ_FILE}"


def png_bytes(picture: Picture) -> bytes:
    """The bytes of a PNG file."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def figure_to_image(figure: Any) -> Picture:
    """A matplotlib figure as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
