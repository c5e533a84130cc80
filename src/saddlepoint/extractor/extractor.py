"""Extractors: what turns samples into the features, and the logits, that scores are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.modality import Modality, default_modality

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


class Features(NamedTuple):
    """What an extractor says of N samples, and the samples themselves."""

    features: Tensor  # [N, dim], float32
    logits: Tensor | None = None  # [N, classes], float32; None where it is no classifier
    x: Tensor | None = None  # as stored, [N, ...] (see `saddlepoint.modality`); an extractor leaves it out
    y: Tensor | None = None  # int64 [N]: reals' classes, or those that fakes were asked for; None where there are none

    def select(self, index: Tensor) -> Features:
        """The samples at `index`, int64 [n]."""
        return Features(*(None if part is None else part[index.to(part.device)] for part in self))  # pyright: ignore[reportArgumentType]

    def to(self, device: torch.device | str) -> Features:
        """The same on `device`; the samples stay where they are stored."""
        features, logits, x, y = self
        return Features(features.to(device), None if logits is None else logits.to(device), x, y)

    @classmethod
    def concatenate(cls, parts: Iterable[Features]) -> Features:
        """All of `parts`, in order."""
        columns = zip(*parts, strict=True)
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))  # pyright: ignore[reportArgumentType]


class Extractor(nn.Module):
    """Features of stored samples [N, ...]: uint8 or uint16 images, points, audio, tokens (see `saddlepoint.modality`).

    It is always in evaluation mode and never learns.

    Keep it out of a LightningModule: there it would enter checkpoints, averages and the ranks' reduction.
    """

    name: str  # part of a score's name
    sha256: str  # of its weights
    dim: int
    classes: int | None  # None where it has no logits
    resizer: str = "none"
    resizes_to: tuple[int, int] | None = None  # height, width, by a resizer; None: those of `shape`
    shape: tuple[int, ...] | None = None  # of one sample; None where images of any size will do
    channels: tuple[int, ...] = (1, 3)  # that it takes, where `shape` is None
    bits: tuple[int, ...] = (8, 16)  # of images, that it takes
    modality: Any = None  # the Modality of the data that it was built for
    accuracy: float | None = None  # on its data's test split, in [0, 1], where it is known

    def forward(self, x: Tensor) -> Features:
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, whatever is asked: dropout would give a set a distance from itself."""
        return super().train(False)


def check_measurable(
    extractor: Extractor | type[Extractor], shape: tuple[int, ...], modality: Modality | None = None
) -> None:
    """Raises Mistake where `extractor` cannot measure samples of `shape`; `modality` None: the one that it implies."""
    modality = modality or default_modality(shape)
    bits = getattr(modality, "bits", 8) if modality.planar else 8
    if extractor.shape is None:
        fits = modality.planar and shape[0] in extractor.channels
        wanted = " or ".join("grey" if channels == 1 else "RGB" for channels in extractor.channels) + " images"
    else:
        fits, wanted = tuple(shape) == extractor.shape, f"samples of shape {format_shape(extractor.shape)}"
    if fits and bits not in extractor.bits:
        raise Mistake(
            f"the extractor {extractor.name} measures images of 8 bits, and these have {bits}, which it would round.\n"
            "Choose data.extractor=trained (images with classes), identity (up to 4,096 numbers), a network of yours "
            "by {_target_: ...}, or null (no scores)."
        )
    if not fits:
        near = extractor.shape is not None and modality.planar and shape[:1] == extractor.shape[:1]
        size = "a resizer (evaluation.resizer=bicubic-antialias), or " if near else ""
        kind = "" if modality.planar else f" of {modality.name}"
        images = "trained (images with classes), " if modality.planar else ""
        inception_too = "inception, " if is_8_bit_image(shape, modality) else ""
        raise Mistake(
            f"the extractor {extractor.name} measures {wanted}, and this data has shape {format_shape(shape)}{kind}.\n"
            f"Choose {size}data.extractor={images}identity (up to 4,096 numbers), {inception_too}a network of yours by "
            "{_target_: ...}, or null (no scores)."
        )


def is_8_bit_image(shape: tuple[int, ...], modality: Modality) -> bool:
    """Whether samples are 8-bit grey or RGB images, which Inception takes whatever their size."""
    return modality.planar and shape[0] in Extractor.channels and getattr(modality, "bits", 8) == 8


def format_shape(shape: Iterable[int]) -> str:
    """1x28x28 for (1, 28, 28)."""
    return "x".join(map(str, shape))
