"""What a config says of data from a folder of your own, read off the folder.  Imports no torch, but for arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saddlepoint.error import Mistake

# of each class of data, the keys that are facts: null means that they are read
FACT_KEYS = {
    "image_folder": ("shape", "bits"),
    "audio_folder": ("shape", "rate", "bits"),
    "text_lines": ("shape", "vocabulary"),
}
IMAGE_BITS = 8  # of files, and of arrays that do not say more


def data_kind(target: str) -> str | None:
    """image_folder, audio_folder or text_lines, of the path of a class of this package; None for any other."""
    package, _, rest = target.partition("saddlepoint.data.")
    name = rest.partition(".")[0]
    return name if not package and name in FACT_KEYS else None


def missing_facts(kind: str, data: Mapping[str, Any]) -> list[str]:
    """The facts that are null; of a config from before there was such a key, it is not missing."""
    return [key for key in FACT_KEYS[kind] if key in data and data[key] is None]


def read_facts(kind: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The facts, classes among them, and the number of samples; None where it was not counted.  Raises Mistake."""
    from saddlepoint.data import listing

    folder = data["folder"]
    if kind == "image_folder":
        if data["shape"] is not None and not listing.is_array(folder):
            return {"bits": IMAGE_BITS}, None  # of a run of before, whose folder may be gone
        found, number = image_facts(folder, data["size"], data["channels"])
        return {"bits": IMAGE_BITS, **found}, number
    if kind == "audio_folder":
        from saddlepoint.data import wav_file  # numpy

        return wav_file.sound_facts(folder, data["length"])
    from saddlepoint.data import text_file

    return text_file.text_facts(text_file.list_text_files(folder), data["unit"], data["length"], data["vocabulary"])


def image_facts(folder: str | Path | None, size: Any = None, channels: int = 3) -> tuple[dict[str, Any], int]:
    """{"shape": [C, H, W], "classes": K or None} and the number of images of a folder or zip, from its names and its
    first image's header; of an .npz or .npy from its array's header and its labels, with "bits": 16 where it has so
    many."""
    from saddlepoint.data import listing

    if listing.is_array(folder):
        from saddlepoint.data import array_file  # numpy and torch

        if size is not None:
            raise Mistake(f"data.size={size}: it is for files of images; an array's are as they are. Leave it null.")
        return array_file.image_array_facts(listing.resolve_folder(folder), channels)
    from saddlepoint.data import image_file  # Pillow

    image_file.check_channels(channels)
    found = listing.list_files(folder)
    return image_file.image_file_facts(found, size, channels), len(found.names)
