"""Extractors: networks that turn samples into the features and logits that scores are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.modality import Modality, default_modality

Progress = Callable[[str, int, int], None]  # called with a description, the number done and the total


class Features(NamedTuple):
    """Output of an extractor for N samples, with the samples."""

    features: Tensor  # [N, dim], float32
    logits: Tensor | None = None  # [N, classes], float32; None unless the extractor is a classifier
    x: Tensor | None = None  # as stored, [N, ...] (see `saddlepoint.modality`); not set by extractors
    y: Tensor | None = None  # int64 [N]: classes of reals, or those that fakes were generated for; None without classes
    target: Tensor | None = None  # of fakes from image to image: the truth of each, as networks take it, [N, ...]
    mask: Tensor | None = None  # [N, 1, ...]: above 0 where a fake was made; None: everywhere

    def select(self, index: Tensor) -> Features:
        """Return the samples at `index`, int64 [n]."""
        return Features(*(None if column is None else column[index.to(column.device)] for column in self))  # pyright: ignore[reportArgumentType]

    def to(self, device: torch.device | str) -> Features:
        """Move features and logits to `device`; other columns are not moved."""
        logits = None if self.logits is None else self.logits.to(device)
        return self._replace(features=self.features.to(device), logits=logits)

    @classmethod
    def concatenate(cls, batches: Iterable[Features]) -> Features:
        """Concatenate `batches` in order."""
        columns = zip(*batches, strict=True)
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))  # pyright: ignore[reportArgumentType]


class Extractor(nn.Module):
    """Features of stored samples [N, ...]: uint8 or uint16 images, points, audio, tokens (see `saddlepoint.modality`).

    Always in evaluation mode, without trainable parameters.

    Do not make it a child of a LightningModule: it would enter checkpoints, averages and gradient synchronisation.
    """

    name: str  # part of a score's name
    sha256: str  # of the weights
    dim: int
    classes: int | None  # None without logits
    resizer: str = "none"
    resizes_to: tuple[int, int] | None = None  # (height, width) of its input, for a resizer; None: that of `shape`
    shape: tuple[int, ...] | None = None  # of one sample; None: images of any size
    channels: tuple[int, ...] = (1, 3)  # accepted numbers of channels, if `shape` is None
    bits: tuple[int, ...] = (8, 16)  # accepted bit depths of images
    modality: Any = None  # the Modality of the data
    accuracy: float | None = None  # on the test split of its data, in [0, 1]; None if unknown

    def forward(self, x: Tensor) -> Features:
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: with dropout, a set would have a distance from itself."""
        return super().train(False)


def check_measurable(
    extractor: Extractor | type[Extractor], shape: tuple[int, ...], modality: Modality | None = None
) -> None:
    """Raise Mistake if `extractor` cannot process samples of `shape`; `modality` None: inferred from the shape."""
    modality = modality or default_modality(shape)
    bits = getattr(modality, "bits", 8) if modality.planar else 8
    if extractor.shape is None:
        fits = modality.planar and shape[0] in extractor.channels
        expected = " or ".join("grey" if channels == 1 else "RGB" for channels in extractor.channels) + " images"
    else:
        fits = extractor.shape in (tuple(shape), modality.measured_shape(tuple(shape)))
        expected = f"samples of shape {format_shape(extractor.shape)}"
    if fits and bits not in extractor.bits:
        raise Mistake(
            f"the extractor {extractor.name} measures images of 8 bits, but these have {bits}, which it would round.\n"
            "Choose data.extractor=trained (images with classes), identity (up to 4,096 numbers), your own network "
            "by {_target_: ...}, or null (no scores)."
        )
    if not fits:
        resizable = extractor.shape is not None and modality.planar and shape[:1] == extractor.shape[:1]
        resizer = "a resizer (evaluation.resizer=bicubic-antialias), or " if resizable else ""
        kind = "" if modality.planar else f" of {modality.name}"
        trained = "trained (images with classes), " if modality.planar else ""
        trained = trained or ("trained (sounds with classes), " if modality.image_shape(tuple(shape)) else "")
        inception = "inception, " if is_8_bit_image(shape, modality) else ""
        raise Mistake(
            f"the extractor {extractor.name} needs {expected}, but this data has shape {format_shape(shape)}{kind}.\n"
            f"Choose {resizer}data.extractor={trained}identity (up to 4,096 numbers), {inception}your own network by "
            f"{{_target_: ...}}, or null (no scores).{modality.metric_hint}"
        )


def is_8_bit_image(shape: tuple[int, ...], modality: Modality) -> bool:
    """Whether samples are 8-bit grey or RGB images, which Inception accepts in any size."""
    return modality.planar and shape[0] in Extractor.channels and getattr(modality, "bits", 8) == 8


def format_shape(shape: Iterable[int]) -> str:
    """Format (1, 28, 28) as 1x28x28."""
    return "x".join(map(str, shape))
