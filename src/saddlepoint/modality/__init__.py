"""The kind of samples in a data set: images, points, audio, spectrograms or tokens.  See `modality`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake, describe_type_of
from saddlepoint.modality.audio import Audio
from saddlepoint.modality.image import Image
from saddlepoint.modality.modality import Modality
from saddlepoint.modality.points import Points
from saddlepoint.modality.spectrogram import Spectrogram
from saddlepoint.modality.tokens import Tokens

__all__ = ["Audio", "Image", "Modality", "Points", "Spectrogram", "Tokens", "default_modality", "infer_modality",
           "is_bounded_shape", "modality_of"]  # fmt: skip


def default_modality(shape: Sequence[int]) -> Modality:
    """Return the default modality for samples of `shape`: [D] points, [C, L] audio, [C, H, W] 8-bit images.

    Raises Mistake for another number of axes.
    """
    defaults: dict[int, type[Modality]] = {1: Points, 2: Audio, 3: Image}
    if len(shape) not in defaults:
        raise Mistake(
            f"data.shape={list(shape)}: there is a default modality for points [D], audio [C, L] and images [C, H, W] "
            "only. Set the class attribute `modality` of the data, see docs/extending.md"
        )
    return defaults[len(shape)]()


def is_bounded_shape(shape: Sequence[int]) -> bool | None:
    """Whether samples of `shape` have bounded values by default: True for images, False for points, else None."""
    return {1: False, 3: True}.get(len(shape))


def infer_modality(x: Tensor) -> Modality:
    """Return the modality of samples x in stored form, inferred from their dtype and number of axes.

    The vocabulary of tokens is the numbers up to the largest.  Raises Mistake if x is not in a stored form.
    """
    constructors = {
        (torch.uint8, 4): Image,
        (torch.uint16, 4): lambda: Image(16),
        (torch.float32, 2): Points,
        (torch.int16, 3): lambda: Audio(bits=16),
        (torch.float32, 3): Audio,
        (torch.int64, 2): lambda: Tokens(list(map(str, range(int(x.max()) + 1))), " "),
    }
    if (x.dtype, x.ndim) not in constructors:
        raise Mistake(
            f"samples are {describe_type_of(x)}, {x.dtype}, but stored samples are uint8 or uint16 images "
            "[n, C, H, W], float32 points [n, D], int16 or float32 audio [n, C, L], or int64 tokens [n, T]: convert "
            "them, or set a modality"
        )
    return constructors[x.dtype, x.ndim]()


def modality_of(data: Any) -> Modality:
    """Return the modality of a data set or split; if it has none, infer it from the shape or the samples."""
    if (modality := getattr(data, "modality", None)) is not None:
        return modality
    if not hasattr(data, "__getitem__"):
        return default_modality(data.shape)
    x = data[torch.tensor([0])][0]
    return infer_modality(x if x.dtype != torch.int64 else data[torch.arange(len(data))][0])
