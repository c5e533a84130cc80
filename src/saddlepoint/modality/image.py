"""Images of any size and number of channels.  Stored form uint8 or uint16 [n, C, H, W]; float form in [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from saddlepoint.error import Mistake
from saddlepoint.modality.modality import FOLDER, NPZ_FILE, Modality, png_bytes
from saddlepoint.pixel import LEVELS, to_float, to_uint8, to_uint16

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MIN_TILE = 56  # pixels per side of each image in a picture; smaller ones are hard to see
MAX_COMPARED_SIDE = 32  # pixels per side of images that are compared: larger ones cost more time for little gain
DTYPES = {8: torch.uint8, 16: torch.uint16}
MAX_PNG_CHANNELS = 4  # RGB and alpha


def is_image(x: Tensor) -> bool:
    """Whether x is a batch of images [N, C, H, W], in stored or float form."""
    return x.ndim == 4


class Image(Modality):
    """Images with 8 `bits` per value (float form x / 127.5 - 1) or 16 (x / 32767.5 - 1).  Raises Mistake for others."""

    name = "image"
    plural = "images"
    value_description = "pixels in [-1, 1]"
    bounded = True
    planar = True
    suffixes: ClassVar = {".png": "a picture.png", ".npz": NPZ_FILE, FOLDER: "a folder/"}

    def __init__(self, bits: int = 8) -> None:
        if bits not in DTYPES:
            raise Mistake(f"data.bits={bits}: images have 8 or 16 bits per value (uint8, uint16)")
        self.bits = bits
        self.stored_form = f"uint{bits} [n, C, H, W] with values from 0 to {2**bits - 1}"

    def has_stored_form(self, x: Tensor) -> bool:
        return x.dtype == DTYPES[self.bits] and is_image(x)

    def to_float(self, x: Tensor) -> Tensor:
        return to_float(x)

    def to_stored(self, x: Tensor) -> Tensor:
        return to_uint8(x) if self.bits == 8 else to_uint16(x)

    def image_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        return shape[0], shape[1], shape[2]

    def to_image(self, x: Tensor) -> Tensor:
        return x

    def conversion_hint(self, x: Tensor) -> str | None:
        if is_image(x) and x.dtype in LEVELS:
            other_bits = 24 - self.bits
            return f"set modality = saddlepoint.modality.Image({other_bits}) in the data, or data.bits={other_bits}"
        if is_image(x) and x.is_floating_point():
            half = (2**self.bits - 1) / 2
            return (
                f"floats would be rounded to {2**self.bits} levels: round them explicitly, from [-1, 1] by "
                f"({half} * (x + 1)).round().to(torch.uint{self.bits}); "
                + ("modality = saddlepoint.modality.Image(16) keeps 16 bits" if self.bits == 8 else "or use points")
            )
        return None

    def to_density_units(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(dtype) / LEVELS[x.dtype]

    def comparison_features(self, x: Tensor) -> Tensor:
        small = adaptive_avg_pool2d(x, MAX_COMPARED_SIDE) if max(x.shape[2:]) > MAX_COMPARED_SIDE else x
        return small.flatten(1).float()

    def default_extractor(self, shape: tuple[int, ...], classes: int | None = None) -> str | None:
        return "nearest" if classes is None else "trained"

    def picture(self, x: Tensor, columns: int = 8, scale: int | None = None, reals: Tensor | None = None) -> Picture:
        """Draw a grid, enlarged by `scale` (None: to at least 56 pixels per image); the first of 5 or more channels."""
        from PIL import Image
        from torchvision.utils import make_grid

        pixels = x if x.dtype == torch.uint8 else to_uint8(to_float(x))
        scale = scale or max(1, -(-MIN_TILE // pixels.shape[-1]))
        pixels = pixels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        if pixels.shape[1] in (2, 4):  # blend the alpha with white
            colour, alpha = pixels[:, :-1].float(), pixels[:, -1:].float() / 255
            pixels = (255 - alpha * (255 - colour)).round().to(torch.uint8)
        elif pixels.shape[1] not in (1, 3):
            pixels = pixels[:, :1]
        grid = make_grid(pixels, nrow=columns, padding=2, pad_value=128)
        return Image.fromarray(grid.permute(1, 2, 0).numpy())

    def npz_arrays(self, x: Tensor) -> dict[str, Any]:
        return {"arr_0": x.permute(0, 2, 3, 1).contiguous().numpy()}

    def check_suffix(self, suffix: str, shape: tuple[int, ...], n: int = 1) -> None:
        super().check_suffix(suffix, shape, n)
        if suffix != FOLDER:
            return
        if shape[0] > MAX_PNG_CHANNELS:
            raise Mistake(f"images with {shape[0]} channels cannot be PNGs: write them to {NPZ_FILE}")
        if self.bits == 16 and shape[0] > 1:
            raise Mistake(
                f"16-bit images with {shape[0]} channels cannot be PNGs (grey ones can): write them to {NPZ_FILE}"
            )

    def folder_contents(self, x: Tensor) -> Iterator[tuple[str, bytes]]:
        from PIL import Image

        digits = len(str(len(x) - 1))
        for number, image in enumerate(x):
            array = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
            yield f"{number:0{digits}d}.png", png_bytes(Image.fromarray(np.ascontiguousarray(array)))

    def describe_information_loss(self, suffix: str) -> str | None:
        if self.bits == 16 and suffix == ".png":
            return f"a picture.png shows 8 of 16 bits; {NPZ_FILE} holds all"
        return None

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "bits": self.bits}
