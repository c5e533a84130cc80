"""Decoding of one image file: turned upright, converted, cropped or padded, resized with Pillow's antialiased LANCZOS.

What is converted, refused and counted: docs/data.md.  1 channel is Pillow's "L" (ITU-R 601-2 luma), 2 "LA", 3 "RGB", 4
"RGBA".  Images with more than 8 bits per channel are refused, because Pillow would clip or truncate them silently.
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
MODE_NAMES = {"P": "palette", "PA": "palette", "1": "1-bit"}  # other modes are known by Pillow's name
FIT_MODES = ("crop", "pad")
MAX_PIXELS = 2**26  # of one image, since a file of a few kilobytes can decode to gigabytes
ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap height and width
SUGGESTED_SIZES = (64, 32)  # for larger images

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class TargetFormat:
    """The format that every image is converted to.

    channels   1, 2, 3 or 4
    size       (height, width)
    resize     False: images of another size are refused
    fit        crop: the largest centred rectangle with the aspect ratio of `size`; pad: the whole image, centred, with
               black or transparent borders
    half       left or right: only this half of each image is used, before it is resized; None: the whole image
    resample   the filter of resizing; BOX for masks, whose values are shares of masked pixels
    """

    channels: int
    size: Size
    resize: bool = True
    fit: str = "crop"
    half: str | None = None
    resample: Image.Resampling = Image.Resampling.LANCZOS


def parse_size(size: Any) -> Size | None:
    """Return data.size, one number or two, as (height, width), or None for None.  Raises Mistake for other values."""
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size, size)
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise Mistake(f"data.size={size}: must be the pixels per side, or [height,width], or null.")
    return int(sides[0]), int(sides[1])


def check_channels(channels: int) -> None:
    """Raises Mistake if image files cannot have this number of channels."""
    if channels not in PILLOW_MODES:
        raise Mistake(
            f"data.channels={channels}: image files have 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha) "
            "channels; for other numbers use an .npz."
        )


def read_image_file_facts(files: Listing, size: Any, channels: int, half: str | None = None) -> dict[str, Any]:
    """Return {"shape": [C, H, W], "classes": K or None} of a folder or zip, from names and the first image's header."""
    sides = parse_size(size) or read_size(files, files.names[0], half)
    return {"shape": [channels, *sides], "classes": files.classes}


def read_size(files: Listing, name: str, half: str | None = None) -> Size:
    """Return height and width of an upright image, or of a half of it.  Raises Mistake if the width is odd."""
    with _open_image(files, name) as image:
        _load_png(image)
        return _used_size(files, name, image, half)


def is_grey(files: Listing, name: str) -> bool:
    """Whether an image file has no colours."""
    with _open_image(files, name) as image:
        return image.mode in GREY


def preview_changes(files: Listing, name: str, target: TargetFormat) -> list[str]:
    """Return what `decode_image` would change, from the header of an image; raises Mistake if its size is refused."""
    with _open_image(files, name) as image:
        return _list_changes(files, name, image, target)


def decode_image(files: Listing, name: str, target: TargetFormat) -> tuple[bytes, list[str]]:
    """Return the pixels as bytes, [height, width, channels], and what was changed, as text for messages.

    Raises Mistake if the file cannot be read.
    """
    with _open_image(files, name) as image:
        _load_png(image)
        changes = _list_changes(files, name, image, target)
        ImageOps.exif_transpose(image, in_place=True)
        if target.half is not None:
            first = 0 if target.half == "left" else image.width // 2
            image = image.crop((first, 0, first + image.width // 2, image.height))
        return _resize(_convert_mode(image, target.channels), target).tobytes(), changes


def _list_changes(files: Listing, name: str, image: Image.Image, target: TargetFormat) -> list[str]:
    """Return what decoding changes in an opened image; raises Mistake if its size is refused."""
    size = _used_size(files, name, image, target.half)
    if not target.resize and size != target.size:
        raise _different_sizes_error(files, name, size, target.size)
    changes = ["several frames or pages: the first is read"] if getattr(image, "n_frames", 1) > 1 else []
    if _exif_orientation(image) != 1:
        changes.append("turned upright, by their EXIF orientation")
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        changes.append("an embedded colour profile other than sRGB is not applied")
    return [*changes, *_describe_colour_changes(image, target.channels), *_describe_size_changes(size, target)]


def _describe_colour_changes(image: Image.Image, channels: int) -> list[str]:
    mode, has_alpha = image.mode, image.has_transparency_data
    is_grey, to_grey = mode in GREY, channels <= 2
    changes = []
    if has_alpha and channels in (1, 3):
        changes.append("transparent parts are laid over white")
    if not has_alpha and channels in (2, 4):
        changes.append("opaque images get an alpha of 255")
    if mode == "1":
        changes.append("1-bit images become 0 and 255")
    if is_grey and not to_grey:
        changes.append("grey images get three equal channels")
    if mode in ("RGB", "RGBA") and to_grey:
        changes.append("RGB images are turned into grey (ITU-R 601-2 luma)")
    if not is_grey and mode not in ("RGB", "RGBA"):
        changes.append(f"{MODE_NAMES.get(mode, mode)} images are converted to {'grey' if to_grey else 'RGB'}")
    return changes


def _describe_size_changes(size: Size, target: TargetFormat) -> list[str]:
    if size == target.size:
        return []
    (height, width), (new_height, new_width) = size, target.size
    fitted = _fitted_size(size, target)
    fit = "" if fitted == size else "cropped to the middle, " if target.fit == "crop" else "padded, "
    scale = min(new_height / height, new_width / width) if target.fit == "pad" else new_height / fitted[0]
    resampling = "enlarged" if scale > 1 else "reduced" if scale < 1 else "not resampled"
    return [f"{fit}{resampling} to {new_width}x{new_height}"]


def _convert_mode(image: Image.Image, channels: int) -> Image.Image:
    if image.has_transparency_data and channels in (1, 3):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if channels == 2 and image.mode not in ("L", "LA"):
        image = image.convert("RGBA")  # Pillow cannot convert some modes directly to LA
    return image.convert(PILLOW_MODES[channels])


def _fitted_size(size: Size, target: TargetFormat) -> Size:
    """Return the largest rectangle of the target's aspect ratio inside an image; for pad, the smallest around it."""
    (height, width), (new_height, new_width) = size, target.size
    if (width * new_height > height * new_width) == (target.fit == "crop"):  # cropped or padded left and right
        return height, max(1, round(height * new_width / new_height))
    return max(1, round(width * new_height / new_width)), width


def _resize(image: Image.Image, target: TargetFormat) -> Image.Image:
    new_height, new_width = target.size
    if image.size == (new_width, new_height):
        return image
    if target.fit == "pad":
        return ImageOps.pad(image, (new_width, new_height), target.resample, color=0)
    height, width = _fitted_size((image.height, image.width), target)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    cropped = image.crop((left, top, left + width, top + height))
    return cropped.resize((new_width, new_height), target.resample)


def _different_sizes_error(files: Listing, name: str, size: Size, first_size: Size) -> Mistake:
    (first_height, first_width), (height, width) = first_size, size
    smallest = min(*first_size, *size)
    side = next((suggested for suggested in SUGGESTED_SIZES if smallest >= suggested), smallest)
    half = f", or data.size={side // 2}, with a quarter of the pixels and the work" if side in SUGGESTED_SIZES else ""
    return Mistake(
        f"images of different sizes: {files.location(files.names[0])} is {first_width}x{first_height}, "
        f"{files.location(name)} is {width}x{height}.\n"
        f"Set data.size={side} to crop and resize every image{half}; data.fit=pad keeps the whole of each image."
    )


def _load_png(image: Image.Image) -> None:
    """Load the pixels of a PNG, since its EXIF may come after the pixels."""
    if image.format == "PNG":
        image.load()


def _exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation; for a PNG that is not loaded, only if its EXIF comes before the pixels."""
    if image.format == "PNG" and "exif" not in image.info and getattr(image, "tile", None):
        return 1  # getexif would load the pixels
    return image.getexif().get(ORIENTATION, 1)


def _upright_size(image: Image.Image) -> Size:
    """Height and width of the upright image; Pillow reports those of a TIFF as upright."""
    is_turned = image.format != "TIFF" and _exif_orientation(image) >= 5
    return (image.width, image.height) if is_turned else (image.height, image.width)


def format_size(size: Sequence[int]) -> str:
    """Return (height, width) as text, width first."""
    return f"{size[1]}x{size[0]}"


def _used_size(files: Listing, name: str, image: Image.Image, half: str | None) -> Size:
    height, width = _upright_size(image)
    if half is None:
        return height, width
    if width % 2:
        raise Mistake(
            f"{files.location(name)} is {width}x{height}: two images side by side have an even width. "
            "Crop or remove it."
        )
    return height, width // 2


def _has_more_than_8_bits(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits per channel; Pillow truncates them to 8 for colour and alpha."""
    if image.mode[0] in "IF":
        return True
    bits = getattr(image, "tag_v2", {}).get(258, ())  # a TIFF's BitsPerSample
    raw = (tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in getattr(image, "tile", []))
    return max(bits, default=8) > 8 or any(re.search(r";16[BLNS]", str(mode)) for mode in raw)


@contextmanager
def _open_image(files: Listing, name: str) -> Iterator[Image.Image]:
    try:
        with files.open(name) as file, Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS:,}")
            if _has_more_than_8_bits(image):
                raise ValueError(
                    f"its pixels have more than 8 bits per channel (Pillow's mode {image.mode}); save it with 8 bits, "
                    "or save all images as one .npz of uint16"
                )
            yield image
    except Mistake:
        raise
    except Exception as error:  # Pillow and zipfile raise half a dozen types for broken files, SyntaxError among them
        is_unknown = isinstance(error, UnidentifiedImageError)  # its text is the repr of a Python object
        reason = "Pillow does not recognise it as an image" if is_unknown else str(error) or type(error).__name__
        raise Mistake(f"{files.location(name)} cannot be read: {reason}. Replace or remove it.") from error
