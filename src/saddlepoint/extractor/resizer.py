"""Resizers: how images come to the size that an extractor takes, where it does not see to that itself.

Which one is used moves FID (Parmar et al. 2022, arXiv:2104.11222), so it stands in the contract.
Resampling is torch's, about pixel centres, in float32; the result is rounded to uint8, or uint16 where it came as that.
Without antialiasing a smaller image is made from every so manieth pixel, whatever lies between.
"""

import difflib

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Extractor, Features, format_shape
from saddlepoint.pixel import LEVELS

RESIZERS = {  # name: torch's mode, and whether the filter widens with the scale
    "bilinear": ("bilinear", False),
    "bilinear-antialias": ("bilinear", True),
    "bicubic-antialias": ("bicubic", True),
}
PART = 100  # images at once: in float32 at 299x299 they take 107 MB


def check_resizer(name: str) -> str:
    """`name` itself; raises Mistake where it is no resizer's."""
    if name in RESIZERS:
        return name
    close = [full for full in RESIZERS if full.startswith(name)] or difflib.get_close_matches(name, RESIZERS, 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise Mistake(
        f"there is no resizer {name}. {hint}Choose one of {', '.join(RESIZERS)}, or null for the extractor's."
    )


def resize(x: Tensor, size: tuple[int, int], name: str) -> Tensor:
    """Stored images x [N, C, H, W] at `size` (height, width), of x's type; x itself where it has that size."""
    if tuple(x.shape[2:]) == size:
        return x
    mode, antialias = RESIZERS[check_resizer(name)]
    parts = [interpolate(part.to(torch.float32), size, mode=mode, antialias=antialias) for part in x.split(PART)]
    return torch.cat([part.round_().clamp_(0, LEVELS[x.dtype]).to(x.dtype) for part in parts])


class ResizingExtractor(Extractor):
    """Another extractor, for images of any size: they are brought to `size` (height, width) before it sees them."""

    def __init__(self, inner: Extractor, size: tuple[int, int], resizer: str) -> None:
        super().__init__()
        self.inner, self.size, self.by = inner, size, check_resizer(resizer)
        self.name, self.sha256, self.dim, self.classes = inner.name, inner.sha256, inner.dim, inner.classes
        self.resizer = f"{resizer}-{size[0]}" if size[0] == size[1] else f"{resizer}-{format_shape(size)}"
        self.channels = inner.channels if inner.shape is None else inner.shape[:1]
        self.bits = inner.bits

    def forward(self, x: Tensor) -> Features:
        return self.inner(resize(x, self.size, self.by))
