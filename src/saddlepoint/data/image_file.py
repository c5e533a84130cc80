"""One image file as pixels: upright, converted, cropped or padded, resized by Pillow's antialiased LANCZOS.

What is converted, refused and counted: docs/data.md.  1 channel is Pillow's "L" (ITU-R 601-2 luma), 2 "LA", 3 "RGB", 4
"RGBA".  Images of more than 8 bits per channel are refused, for Pillow would clip or cut them without a word.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from saddlepoint.data.listing import Listing
from saddlepoint.error import Mistake

PILLOW_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
GREY = ("1", "L", "LA", "La")
NAMED = {"P": "palette", "PA": "palette", "1": "1-bit"}  # of Pillow's modes; the others' names are well known
FIT_MODES = ("crop", "pad")
PIXELS = 2**26  # of one image: a file of a few kilobytes can hold gigabytes of them
ORIENTATION = 0x0112  # EXIF's tag; 5 to 8 exchange height and width
SMALL = (64, 32)  # sizes that are suggested where images are larger

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class ImageFormat:
    """What every image becomes: `channels` x `size` (height, width).

    `resize` False: it must have that size already.  `fit`: crop takes the largest centred rectangle of that shape, pad
    puts the whole image into the middle, with black, or transparent, borders.
    """

    channels: int
    size: Size
    resize: bool = True
    fit: str = "crop"


def parse_size(size: Any) -> Size | None:
    """data.size as (height, width): of one number, or two; None for None.  Raises Mistake for anything else."""
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size, size)
    if len(sides) != 2 or any(type(one) is not int or one < 1 for one in sides):
        raise Mistake(f"data.size={size}: say how many pixels a side has, or [height,width], or null.")
    return int(sides[0]), int(sides[1])


def check_channels(channels: int) -> None:
    """Raises Mistake where image files cannot have so many."""
    if channels not in PILLOW_MODES:
        raise Mistake(
            f"data.channels={channels}: image files have 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha); "
            "others come as an .npz."
        )


def image_file_facts(found: Listing, size: Any, channels: int) -> dict[str, Any]:
    """{"shape": [C, H, W], "classes": K or None} of a folder or zip, from its names and its first image's header."""
    sides = parse_size(size)
    if sides is None:
        with _opened(found, found.names[0]) as image:
            _read_png(image)
            sides = _upright(image)
    return {"shape": [channels, *sides], "classes": found.classes}


def preview_changes(found: Listing, name: str, form: ImageFormat) -> list[str]:
    """What `pixels` would do to an image, by its header; raises Mistake where the size would be refused."""
    with _opened(found, name) as image:
        return _changes(found, name, image, form)


def decode_image(found: Listing, name: str, form: ImageFormat) -> tuple[bytes, list[str]]:
    """The pixels as bytes, rows first, channels last, and what was done to them, as a person would be told.

    Raises Mistake for an unreadable file.
    """
    with _opened(found, name) as image:
        _read_png(image)
        changes = _changes(found, name, image, form)
        ImageOps.exif_transpose(image, in_place=True)
        return _fitted(_converted(image, form.channels), form).tobytes(), changes


def _changes(found: Listing, name: str, image: Image.Image, form: ImageFormat) -> list[str]:
    """What is done to an image that was opened and not yet read; raises Mistake where its size would be refused."""
    size = _upright(image)
    if not form.resize and size != form.size:
        raise _unequal(found, name, size, form.size)
    lines = ["several frames or pages: the first is read"] if getattr(image, "n_frames", 1) > 1 else []
    if _orientation(image) != 1:
        lines.append("turned upright, as their EXIF says")
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        lines.append("an embedded colour profile other than sRGB is not applied")
    return [*lines, *_recoloured(image, form.channels), *_resized(size, form)]


def _recoloured(image: Image.Image, channels: int) -> list[str]:
    plain, alpha = image.mode, image.has_transparency_data
    grey, to_grey = plain in GREY, channels <= 2
    lines = []
    if alpha and channels in (1, 3):
        lines.append("transparent parts are laid over white")
    if not alpha and channels in (2, 4):
        lines.append("opaque images get an alpha of 255")
    if plain == "1":
        lines.append("1-bit images become 0 and 255")
    if grey and not to_grey:
        lines.append("grey images get three equal channels")
    if plain in ("RGB", "RGBA") and to_grey:
        lines.append("RGB images are turned into grey (ITU-R 601-2 luma)")
    if not grey and plain not in ("RGB", "RGBA"):
        lines.append(f"{NAMED.get(plain, plain)} images are converted to {'grey' if to_grey else 'RGB'}")
    return lines


def _resized(size: Size, form: ImageFormat) -> list[str]:
    if size == form.size:
        return []
    (height, width), (tall, wide) = size, form.size
    inner = _inner(size, form)
    done = "" if inner == size else "cropped to the middle, " if form.fit == "crop" else "padded, "
    scale = min(tall / height, wide / width) if form.fit == "pad" else tall / inner[0]
    return [f"{done}{'enlarged' if scale > 1 else 'reduced' if scale < 1 else 'not resampled'} to {wide}x{tall}"]


def _converted(image: Image.Image, channels: int) -> Image.Image:
    if image.has_transparency_data and channels in (1, 3):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if channels == 2 and image.mode not in ("L", "LA"):
        image = image.convert("RGBA")  # Pillow knows no way from some modes to LA
    return image.convert(PILLOW_MODES[channels])


def _inner(size: Size, form: ImageFormat) -> Size:
    """The largest rectangle of the shape of `form` that an image holds; with `pad`, the smallest that holds it."""
    (height, width), (tall, wide) = size, form.size
    if (width * tall > height * wide) == (form.fit == "crop"):  # cut off at the sides, or padded there
        return height, max(1, round(height * wide / tall))
    return max(1, round(width * tall / wide)), width


def _fitted(image: Image.Image, form: ImageFormat) -> Image.Image:
    tall, wide = form.size
    if image.size == (wide, tall):
        return image
    if form.fit == "pad":
        return ImageOps.pad(image, (wide, tall), Image.Resampling.LANCZOS, color=0)
    height, width = _inner((image.height, image.width), form)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)).resize((wide, tall), Image.Resampling.LANCZOS)


def _unequal(found: Listing, name: str, size: Size, first: Size) -> Mistake:
    (tall, wide), (height, width) = first, size
    least = min(*first, *size)
    side = next((small for small in SMALL if least >= small), least)
    less = f", or data.size={side // 2}, a quarter of the pixels and so of the work" if side in SMALL else ""
    return Mistake(
        f"images of different sizes: {found.location(found.names[0])} is {wide}x{tall}, "
        f"{found.location(name)} is {width}x{height}.\n"
        f"Say data.size={side} to crop and resize every image{less}; data.fit=pad keeps all of each."
    )


def _read_png(image: Image.Image) -> None:
    """A PNG may hold its EXIF behind the pixels."""
    if image.format == "PNG":
        image.load()


def _orientation(image: Image.Image) -> int:
    """EXIF's; of a PNG that was not read, as far as it stands before the pixels."""
    if image.format == "PNG" and "exif" not in image.info and getattr(image, "tile", None):
        return 1  # Pillow would read the pixels
    return image.getexif().get(ORIENTATION, 1)


def _upright(image: Image.Image) -> Size:
    """Height and width after it was turned; a TIFF's are told so by Pillow."""
    turned = image.format != "TIFF" and _orientation(image) >= 5
    return (image.width, image.height) if turned else (image.height, image.width)


def _deep(image: Image.Image) -> bool:
    """Whether its file has more than 8 bits per channel; Pillow cuts them to 8 where there is colour or alpha."""
    if image.mode[0] in "IF":
        return True
    bits = getattr(image, "tag_v2", {}).get(258, ())  # a TIFF's BitsPerSample
    raw = (tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in getattr(image, "tile", []))
    return max(bits, default=8) > 8 or any(re.search(r";16[BLNS]", str(mode)) for mode in raw)


@contextmanager
def _opened(found: Listing, name: str) -> Iterator[Image.Image]:
    try:
        with found.open(name) as file, Image.open(file) as image:
            if image.width * image.height > PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {PIXELS:,}")
            if _deep(image):
                raise ValueError(
                    f"its pixels have more than 8 bits per channel (Pillow's mode {image.mode}); save it with 8, "
                    "or all of them as one .npz of uint16"
                )
            yield image
    except Mistake:
        raise
    except Exception as fault:  # Pillow and zipfile tell of broken files by half a dozen types, SyntaxError among them
        unknown = isinstance(fault, UnidentifiedImageError)  # whose text names an object of Python's
        reason = "it is no image that Pillow knows" if unknown else str(fault) or type(fault).__name__
        raise Mistake(f"{found.location(name)} cannot be read: {reason}. Replace it or take it out.") from fault
