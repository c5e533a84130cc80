"""Resizers: bring images to the input size of an extractor that does not resize them itself.

The resizer changes FID (Parmar et al. 2022, arXiv:2104.11222), so it is part of the contract.
Resampling is torch's with align_corners=False, in float32; the result is rounded to the dtype of x, uint8 or uint16.
Without antialiasing, downsampling reads only a few of the pixels and ignores those in between.
"""

import difflib

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Extractor, Features, format_shape
from saddlepoint.pixel import LEVELS

RESIZERS = {  # name: torch's mode, and whether to antialias
    "bilinear": ("bilinear", False),
    "bilinear-antialias": ("bilinear", True),
    "bicubic-antialias": ("bicubic", True),
}
CHUNK = 100  # images at a time: 107 MB in float32 at 299x299


def check_resizer(name: str) -> str:
    """Return `name`.  Raises Mistake if there is no such resizer."""
    if name in RESIZERS:
        return name
    close = [full for full in RESIZERS if full.startswith(name)] or difflib.get_close_matches(name, RESIZERS, 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise Mistake(
        f"there is no resizer {name}. {hint}Choose one of {', '.join(RESIZERS)}, or null for that of the extractor."
    )


def resize(x: Tensor, size: tuple[int, int], name: str) -> Tensor:
    """Resize stored images x [N, C, H, W] to `size` (height, width) and keep the dtype; a no-op at that size."""
    if tuple(x.shape[2:]) == size:
        return x
    mode, antialias = RESIZERS[check_resizer(name)]
    chunks = [interpolate(chunk.to(torch.float32), size, mode=mode, antialias=antialias) for chunk in x.split(CHUNK)]
    return torch.cat([chunk.round_().clamp_(0, LEVELS[x.dtype]).to(x.dtype) for chunk in chunks])


class ResizingExtractor(Extractor):
    """Another extractor for images of any size: resize them to `size` (height, width) first."""

    def __init__(self, inner: Extractor, size: tuple[int, int], resizer: str) -> None:
        super().__init__()
        self.inner, self.size, self.method = inner, size, check_resizer(resizer)
        self.name, self.sha256, self.dim, self.classes = inner.name, inner.sha256, inner.dim, inner.classes
        self.resizer = f"{resizer}-{size[0]}" if size[0] == size[1] else f"{resizer}-{format_shape(size)}"
        self.channels = inner.channels if inner.shape is None else inner.shape[:1]
        self.bits = inner.bits

    def forward(self, x: Tensor) -> Features:
        return self.inner(resize(x, self.size, self.method))
