"""Facts of data in a user's folder, such as the shape, that a config may leave null.  Imports torch only for arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saddlepoint.error import Mistake

# by kind of data, the config keys that are facts: a null is replaced by the value of the files
FACT_KEYS = {
    "image_folder": ("shape", "bits"),
    "paired_images": ("shape", "bits"),
    "audio_folder": ("shape", "rate", "bits", "standardisation"),
    "spoken_digits": ("shape",),
    "unpaired_images": ("shape", "bits"),
    "text_lines": ("shape", "vocabulary"),
}
OTHER_HALF = {"left": "right", "right": "left"}  # of an image of two side by side
IMAGE_BITS = 8  # of image files, and of arrays unless they are uint16 with larger values


def data_kind(target: str) -> str | None:
    """Return the key of FACT_KEYS for the dotted name of a class in that module of data/, else None."""
    package, _, rest = target.partition("saddlepoint.data.")
    name = rest.partition(".")[0]
    return name if not package and name in FACT_KEYS else None


def missing_facts(kind: str, data: Mapping[str, Any]) -> list[str]:
    """Return the fact keys that are null; a key that an older config lacks does not count, nor one without meaning."""
    unused = () if data.get("spectrogram") else ("standardisation",)
    return [key for key in FACT_KEYS[kind] if key in data and data[key] is None and key not in unused]


def read_facts(kind: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Return the facts with `classes`, and the number of samples, or None if they were not counted.  Raises Mistake."""
    from saddlepoint.data import listing

    if kind == "spoken_digits":
        from saddlepoint.data import spoken_digits  # torch

        return {"shape": spoken_digits.sample_shape(data["length"], data["spectrogram"])}, None
    folder = data["folder"]
    if kind in ("image_folder", "paired_images", "unpaired_images"):
        if data["shape"] is not None and not listing.is_array_file(folder):
            return {"bits": IMAGE_BITS}, None  # an older run without `bits`, whose folder may be deleted
        half = OTHER_HALF.get(str(data.get("source_half")))
        facts, number = read_image_facts(folder, data["size"], data["channels"], half)
        return {"bits": IMAGE_BITS, **facts}, number
    if kind == "audio_folder":
        from saddlepoint.data import audio_folder  # torch

        return audio_folder.read_audio_facts(data)
    from saddlepoint.data import text_file

    return text_file.read_text_facts(
        text_file.list_text_files(folder), data["unit"], data["length"], data["vocabulary"]
    )


def read_image_facts(
    folder: str | Path | None, size: Any = None, channels: int = 3, half: str | None = None
) -> tuple[dict[str, Any], int]:
    """Return {"shape": [C, H, W], "classes": K or None} and the number of images.

    For a folder or zip, reads the names and the header of the first image; for an .npz or .npy, the header of the array
    and the labels, with "bits": 16 if the images have 16 bits.  `half`: of each image only this half, left or right.
    """
    from saddlepoint.data import listing

    if listing.is_array_file(folder):
        from saddlepoint.data import array_file  # numpy and torch

        if size is not None:
            raise Mistake(f"data.size={size}: image files can be resized, arrays cannot. Leave it null.")
        return array_file.read_image_array_facts(listing.resolve_folder(folder), channels)
    from saddlepoint.data import image_file  # Pillow

    image_file.check_channels(channels)
    files = listing.list_files(folder)
    return image_file.read_image_file_facts(files, size, channels, half), len(files.names)
