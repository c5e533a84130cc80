"""One image file as pixels: upright, converted, centre-cropped to a square, resized by Pillow's antialiased LANCZOS.

Conversion to 1 channel is ITU-R 601-2 luma (Pillow's "L"), to 3 channels "RGB"; transparency is laid over white.
Images of more than 8 bits are refused, for Pillow would clip them without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from saddlepoint.error import Mistake

if TYPE_CHECKING:
    from saddlepoint.data.listing import Listing

MODES = {1: "L", 3: "RGB"}
PIXELS = 2**26  # of one image: a file of a few kilobytes can hold gigabytes of them


def side(found: Listing, name: str) -> int:
    """The side of a square image, from its header; raises Mistake for another shape or an unreadable file."""
    with _opened(found, name) as image:
        width, height = image.size
    if width != height:
        raise Mistake(
            f"{found.where(name)} is {width}x{height}, not square. "
            f"Say data.size={min(width, height)} to crop and resize every image."
        )
    return width


def agree(found: Listing, name: str, size: int) -> None:
    """Nothing, where the image is size x size as the first is; else raises Mistake and names both."""
    with _opened(found, name) as image:
        _agree(found, name, image, size)


def mode(found: Listing, name: str, size: int) -> str:
    """Pillow's mode of an image, with "+transparency" where it has some; raises Mistake unless it is size x size."""
    with _opened(found, name) as image:
        _agree(found, name, image, size)
        return image.mode + ("+transparency" if image.has_transparency_data else "")


def pixels(found: Listing, name: str, size: int, channels: int, resize: bool = True) -> bytes:
    """size x size pixels as bytes, rows first, channels last; raises Mistake for an unreadable file.

    Without `resize` the image must have that size already, since the first one has.
    """
    with _opened(found, name) as image:
        if not resize:
            _agree(found, name, image, size)
        ImageOps.exif_transpose(image, in_place=True)
        return _square(_converted(image, channels), size).tobytes()


def _converted(image: Image.Image, channels: int) -> Image.Image:
    if image.mode[0] in "IF":
        raise ValueError(f"its pixels have more than 8 bits (Pillow's mode {image.mode}); save it with 8")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(MODES[channels])


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if (width, height) == (size, size):
        return image
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    return image.crop((left, top, left + edge, top + edge)).resize((size, size), Image.Resampling.LANCZOS)


def _agree(found: Listing, name: str, image: Image.Image, size: int) -> None:
    if image.size != (size, size):
        raise Mistake(
            f"images of different sizes: {found.where(found.names[0])} is {size}x{size}, "
            f"{found.where(name)} is {image.width}x{image.height}.\n"
            f"Say data.size={size} to crop and resize every image."
        )


@contextmanager
def _opened(found: Listing, name: str) -> Iterator[Image.Image]:
    try:
        with found.open(name) as file, Image.open(file) as image:
            if image.width * image.height > PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {PIXELS:,}")
            yield image
    except Mistake:
        raise
    except Exception as fault:  # Pillow and zipfile tell of broken files by half a dozen types, SyntaxError among them
        raise Mistake(f"{found.where(name)} cannot be read: {fault}. Replace it or take it out.") from fault
