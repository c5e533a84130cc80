"""A user's images to apply a generator to: sources, truths, and masks of the region to fill in, matched by name.

An image is a file, or one of a folder or zip; samples of an .npz or .npy are named by their row.  Images of another
size or colour mode are converted as training images are (see `image_file`); the notes list what was changed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image as Pillow
from torch import Tensor

from saddlepoint.data import image_file
from saddlepoint.data.array_file import load_array, possible_layouts, read_header
from saddlepoint.data.listing import (
    IMAGE_FILES,
    Listing,
    format_changes,
    format_names,
    has_array_suffix,
    list_files,
    names_by_stem,
)
from saddlepoint.error import Mistake
from saddlepoint.modality import Image

OPAQUE, WHITE = 255, 255


@dataclass
class NamedImages:
    """Images x in stored form, [n, C, H, W], by name without the suffix."""

    names: list[str]
    x: Tensor
    notes: list[str] = field(default_factory=list)
    files: Listing | None = None  # None for an array file


def list_images(path: str | Path, key: str) -> Listing:
    """List one image file, or those of a folder or zip.  Raises Mistake if there are none; `key` is for messages."""
    location = Path(path).expanduser().absolute()
    if not location.exists():
        raise Mistake(f"{key}={path}: no such image, folder or zip.")
    if location.is_file() and location.suffix.lower() in IMAGE_FILES.suffixes:
        return Listing(location.parent, False, "", [location.name], None, None)
    return list_files(location)


def load_images(path: str | Path, shape: Sequence[int], modality: Image, fit: str, key: str) -> NamedImages:
    """Load images for networks that take `shape` [C, H, W].  Raises Mistake for arrays of another shape."""
    channels, height, width = shape
    if has_array_suffix(path):
        array = load_array(_existing_file(path, key), modality, (channels, height, width))
        digits = len(str(len(array.x) - 1))
        return NamedImages([f"{row:0{digits}d}" for row in range(len(array.x))], array.x, array.notes)
    if channels not in image_file.PILLOW_MODES or modality.bits != 8:
        raise Mistake(
            f"{key}={path}: the generator takes images of {channels} channels and {modality.bits} bits, which image "
            "files do not have. Give an .npz."
        )
    files = list_images(path, key)
    target = image_file.TargetFormat(channels, (height, width), fit=fit)
    x, changes = decode_files(files, files.names, target)
    return NamedImages(list(names_by_stem(files)), x, [*files.notes, *format_changes(files, changes)], files)


def array_shapes(path: str | Path) -> tuple[tuple[int, ...], ...]:
    """Return the shapes [C, H, W] that the images of an array file may have.  Raises Mistake if it is missing."""
    header = read_header(_existing_file(path, "source"))
    return tuple(tuple(sample_shape) for _, sample_shape in possible_layouts(header.shape))


def decode_files(files: Listing, names: Sequence[str], target: image_file.TargetFormat) -> tuple[Tensor, Counter[str]]:
    """Return the images of the names, uint8 [n, C, H, W], and how many were changed in which way."""
    x, changes = [], Counter[str]()
    for name in names:
        content, changed = image_file.decode_image(files, name, target)
        pixels = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        x.append(pixels.view(*target.size, target.channels).permute(2, 0, 1))
        changes.update(changed)
    return torch.stack(x), changes


def load_truths(path: str | Path, sources: NamedImages, shape: Sequence[int], modality: Image, fit: str) -> Tensor:
    """Return the truth of each source, in stored form, in their order.  Raises Mistake for sources without a truth."""
    truths = load_images(path, shape, modality, fit, "truth")
    rows = {name: row for row, name in enumerate(truths.names)}
    if len(truths.names) == len(sources.names) == 1:
        return truths.x
    if missing := [name for name in sources.names if name not in rows]:
        raise Mistake(f"truth={path}: no truth of {len(missing):,} sources: {format_names(missing)}.")
    return truths.x[[rows[name] for name in sources.names]]


def load_masks(path: str | Path, sources: NamedImages, space: tuple[int, int], fit: str) -> Tensor:
    """Return the mask of each source, float [n, 1, H, W]: 1 in the region to fill in, white in the file.

    One image is the mask of all sources; the masks of a folder have the names of the sources.  A mask has the size of
    its source, and is cropped and resized alike; a pixel that is partly masked is masked.  Raises Mistake for missing
    masks, masks of another size, with other values than black and white, and without a white pixel.
    """
    masks = list_images(path, "mask")
    by_stem = names_by_stem(masks)
    is_single = len(masks.names) == 1
    if missing := [name for name in sources.names if not is_single and name not in by_stem]:
        raise Mistake(f"mask={path}: no mask of {len(missing):,} sources: {format_names(missing)}.")
    names = [masks.names[0] if is_single else by_stem[name] for name in sources.names]
    own_names = dict(zip(sources.names, sources.files.names, strict=True)) if sources.files else {}
    for name, mask in zip(sources.names, names, strict=True):
        size = image_file.read_size(sources.files, own_names[name]) if sources.files else tuple(sources.x.shape[2:])
        if (mask_size := image_file.read_size(masks, mask)) != size:
            raise Mistake(
                f"{masks.location(mask)} is {image_file.format_size(mask_size)}, and its source {name} is "
                f"{image_file.format_size(size)}: a mask needs the size of its source."
            )
        pixels, _ = decode_files(masks, [mask], image_file.TargetFormat(1, mask_size))
        if grey := int(((pixels > 0) & (pixels < WHITE)).sum()):
            raise Mistake(
                f"{masks.location(mask)} has {grey:,} pixels that are neither black nor white: a mask is white where "
                "the image is to be filled in, and black elsewhere. Save it without losses, as PNG."
            )
    target = image_file.TargetFormat(1, space, fit=fit, resample=Pillow.Resampling.BOX)
    x = (decode_files(masks, names, target)[0] > 0).float()
    if empty := [name for name, mask in zip(sources.names, x, strict=True) if not mask.any()]:
        raise Mistake(
            f"mask={path}: nothing is white in the used part of the masks of {len(empty):,} sources, so nothing is "
            f"filled in: {format_names(empty)}."
        )
    return x


def masks_from_transparency(sources: NamedImages, space: tuple[int, int], fit: str) -> Tensor:
    """Return the masks of sources with transparency: 1 where a pixel is not opaque.  Raises Mistake if none has any."""
    opaque = [*sources.names]
    if sources.files is not None:
        target = image_file.TargetFormat(2, space, fit=fit, resample=Pillow.Resampling.BOX)
        x, _ = decode_files(sources.files, sources.files.names, target)
        masks = (x[:, 1:] < OPAQUE).float()
        opaque = [name for name, mask in zip(sources.names, masks, strict=True) if not mask.any()]
        if not opaque:
            return masks
    raise Mistake(
        f"samples of this run fill in a region, and {len(opaque):,} of {len(sources.names):,} sources have no "
        f"transparent pixels ({format_names(opaque)}): give mask=<an image or a folder of masks>."
    )


def _existing_file(path: str | Path, key: str) -> Path:
    if not (location := Path(path).expanduser()).is_file():
        raise Mistake(f"{key}={path}: no such file.")
    return location
