"""What kind of thing a sample is: image, points, audio, tokens.  See `modality`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake, describe_value
from saddlepoint.modality.audio import Audio
from saddlepoint.modality.image import Image
from saddlepoint.modality.modality import Modality
from saddlepoint.modality.points import Points
from saddlepoint.modality.tokens import Tokens

__all__ = [
    "Audio",
    "Image",
    "Modality",
    "Points",
    "Tokens",
    "default_modality",
    "infer_modality",
    "is_bounded_shape",
    "modality_of",
]


def default_modality(shape: Sequence[int]) -> Modality:
    """The modality of samples of `shape` where nothing else is said: [D] points, [C, L] audio, [C, H, W] 8-bit images.

    Raises Mistake for any other number of axes.
    """
    found: dict[int, type[Modality]] = {1: Points, 2: Audio, 3: Image}
    if len(shape) not in found:
        raise Mistake(
            f"data.shape={list(shape)}: [D] implies points, [C, L] audio and [C, H, W] images, and this is none of "
            "them. Give the data a modality: a class attribute modality of the data, see docs/extending.md"
        )
    return found[len(shape)]()


def is_bounded_shape(shape: Sequence[int]) -> bool | None:
    """Whether samples of `shape` have a range where no modality is named: images have, points not; None: either."""
    return {1: False, 3: True}.get(len(shape))


def infer_modality(x: Tensor) -> Modality:
    """The modality that the type and the number of axes of stored samples x imply.

    Of tokens the vocabulary is the numbers up to the largest.  Raises Mistake where they imply none.
    """
    made = {
        (torch.uint8, 4): Image,
        (torch.uint16, 4): lambda: Image(16),
        (torch.float32, 2): Points,
        (torch.int16, 3): lambda: Audio(bits=16),
        (torch.float32, 3): Audio,
        (torch.int64, 2): lambda: Tokens(list(map(str, range(int(x.max()) + 1))), " "),
    }
    if (x.dtype, x.ndim) not in made:
        raise Mistake(
            f"samples are {describe_value(x)}, {x.dtype}, and stored samples are uint8 or uint16 images [n, C, H, W], float32 "
            "points [n, D], int16 or float32 audio [n, C, L], or int64 tokens [n, T]: convert them, or name a modality"
        )
    return made[x.dtype, x.ndim]()


def modality_of(data: Any) -> Modality:
    """The modality of a data set or of a split; where it names none, the one that its shape or its samples imply."""
    if (own := getattr(data, "modality", None)) is not None:
        return own
    if not hasattr(data, "__getitem__"):
        return default_modality(data.shape)
    first = data[torch.tensor([0])][0]
    return infer_modality(first if first.dtype != torch.int64 else data[torch.arange(len(data))][0])
