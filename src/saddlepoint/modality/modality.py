"""The base class of modalities.  A modality knows the kind of samples in a data set; no other code asks for their rank.

A sample has two forms.  Files and metrics use the stored form, which has full precision: uint8 pixels, token indices.
Networks use the float form: float32 [N, *shape], where `shape` is the fact `data.shape`.

    stored form --to_float--> networks --to_stored--> files, extractors, metrics         to_stored(to_float(x)) = x

The equation does not hold for spectrograms, whose float form lacks the phase of the stored waveform (`exact`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from saddlepoint.error import Mistake

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FOLDER = "/"  # the suffix that stands for a folder of files
MAX_IDENTITY_FEATURES = 4_096  # numbers per sample that can serve as features: the covariance takes 134 MB
NPZ_FILE = "an array.npz"
NOT_FINITE = "some values are not finite"


class Modality:
    """Base class; a subclass defines at least `name`, `stored_form`, `has_stored_form`, `to_float` and `to_stored`.

    name               one word, for messages and records
    plural             plural noun, for messages: "images"
    value_description  the values of the float form, for messages: "pixels in [-1, 1]"
    stored_form        the stored form, for messages: "uint8 [n, C, H, W]"
    bounded            whether the values of the float form fill [-1, 1], so that a generator may end in tanh
    planar             whether a sample is a grid of pixels, [C, H, W], which can be mirrored, shifted, resized, and
                       classified by the image classifiers of this package
    ordered            whether distances between values are meaningful; False for categories such as tokens
    audible            whether `sound_file` returns a wav file
    exact              whether to_stored(to_float(x)) = x; False for spectrograms, which lack the phase
    draws_over_reals   whether pictures of samples show real samples in the background
    metric_hint        the metrics of such samples, a sentence for messages about those of images; "": none
    suffixes           the supported files of samples, by suffix ("/" for a folder), with their names in messages; the
                       first is the default
    """

    name: ClassVar[str] = "samples"
    plural: ClassVar[str] = "samples"
    value_description: ClassVar[str] = "numbers"
    stored_form: str = "samples"
    bounded: bool = False
    planar: bool = False
    ordered: bool = True
    audible: bool = False
    exact: bool = True
    draws_over_reals: bool = False
    metric_hint: ClassVar[str] = ""
    suffixes: ClassVar[Mapping[str, str]] = {".npz": NPZ_FILE, ".png": "a picture.png"}

    def has_stored_form(self, x: Tensor) -> bool:
        """Whether x has the dtype and the number of axes of the stored form."""
        raise NotImplementedError(f"{type(self).__name__} must define has_stored_form(x)")

    def to_float(self, x: Tensor) -> Tensor:
        """Convert x from stored form to float form, float32 [n, *shape]."""
        raise NotImplementedError(f"{type(self).__name__} must define to_float(x)")

    def to_stored(self, x: Tensor) -> Tensor:
        """Convert x from float form to stored form; values out of range are clamped."""
        raise NotImplementedError(f"{type(self).__name__} must define to_stored(x)")

    def sample_shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of one sample in float form, for x in stored form."""
        return tuple(x.shape[1:])

    def measured_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one sample in contracts and for extractors, for `shape` in float form."""
        return shape

    def image_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        """The shape of the images that `to_image` makes of samples of `shape` in float form; None: of no image."""
        return None

    def to_image(self, x: Tensor) -> Tensor:
        """Return x, in stored form, as stored images [n, C, H, W], which image classifiers can learn."""
        raise NotImplementedError(f"{type(self).__name__} has no form as images")

    def anchors(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Return functions from held-out reals to anchors of this kind of data, in stored form, by name."""
        return {}

    def paired_anchors(self, source: Tensor) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Return functions from the inputs of pairs to predictions of their truth, in float form, by name.

        source   some inputs, which tell the kind of pairs
        """
        return {}

    def conversion_hint(self, x: Tensor) -> str | None:
        """Return how to convert x, which is not in stored form, as text for the author of the data; None if unknown."""
        return None

    def why_not(self, x: Tensor) -> str | None:
        """Return why the values of x, which has the stored form, are not valid; None if they are."""
        return None

    def to_density_units(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert x from stored form to the units of densities: [0, 1] for integer levels, else float form."""
        return self.to_float(x).to(dtype)

    def comparison_features(self, x: Tensor) -> Tensor:
        """Return x, given in float form, as vectors [N, D] that are small enough to compare many pairs."""
        return x.flatten(1).float()

    def default_extractor(self, shape: tuple[int, ...], classes: int | None = None) -> str | None:
        """Return the name of the default extractor for samples of this shape, or None if there is none."""
        return "identity" if int(np.prod(shape)) <= MAX_IDENTITY_FEATURES else None

    def samples_per_picture(self, rows: int, columns: int) -> int:
        """The number of samples in a picture of rows x columns."""
        return rows * columns

    def picture(self, x: Tensor, columns: int = 8, scale: int | None = None, reals: Tensor | None = None) -> Picture:
        """Draw samples, in stored or float form, as one picture.  Default: one row of grey levels per sample."""
        from PIL import Image

        values = (self.to_float(x) if self.has_stored_form(x) else x).flatten(1).float()
        low, high = values.min(), values.max()
        grey = values.sub(low).div(torch.clamp(high - low, min=1e-12)).mul(255).round().to(torch.uint8)
        return Image.fromarray(grey.repeat_interleave(scale or 4, 0).numpy())

    def file_content(self, x: Tensor, suffix: str, columns: int | None = None, labels: Tensor | None = None) -> bytes:
        """Return the content of one file with all samples x, in stored form.  Raises Mistake if unsupported.

        columns   of a picture
        labels    the samples' classes, for arr_1 of an npz
        """
        if suffix == ".npz":
            content = io.BytesIO()
            arrays: dict[str, Any] = self.npz_arrays(x) | ({} if labels is None else {"arr_1": labels.numpy()})
            np.savez(content, **arrays)
            return content.getvalue()
        return png_bytes(self.picture(x, columns or max(1, round(len(x) ** 0.5))))

    def folder_contents(self, x: Tensor) -> Iterator[tuple[str, bytes]]:
        """Yield the name and content of one file per sample x, in stored form.  Raises Mistake if unsupported."""
        raise Mistake(self._no_folder_message())

    def sound_file(self, x: Tensor) -> bytes | None:
        """Return a wav file of samples x, in stored form, one after the other; None if they are mute."""
        return None

    def npz_arrays(self, x: Tensor) -> dict[str, Any]:
        """Return the arrays of an npz with x, in stored form: arr_0, and arrays that describe it."""
        return {"arr_0": x.contiguous().numpy()}

    def check_suffix(self, suffix: str, shape: tuple[int, ...], n: int = 1) -> None:
        """Raises Mistake if n samples of this shape cannot be written to a file with this suffix."""
        if suffix not in self.suffixes:
            raise Mistake(self._no_folder_message() if suffix == FOLDER else self.format_destinations())

    def describe_information_loss(self, suffix: str) -> str | None:
        """Return what a file with this suffix loses, as text, or None if it keeps everything."""
        return None

    def format_destinations(self) -> str:
        """Return the files that samples can be written to, as text."""
        *first, last = self.suffixes.values()
        return f"samples go to {', '.join(first)}{' or ' if first else ''}{last}"

    def describe(self) -> dict[str, Any]:
        """Return the facts for records."""
        return {"name": self.name}

    def _no_folder_message(self) -> str:
        return f"{self.name} cannot be written as PNGs: write them to {NPZ_FILE}"


def png_bytes(picture: Picture) -> bytes:
    """Return the bytes of a PNG file."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def figure_to_image(figure: Any) -> Picture:
    """Render a matplotlib figure as an image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
