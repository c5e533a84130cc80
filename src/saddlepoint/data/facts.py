"""What a config says of data from a folder of your own, read off the folder.  Imports no torch, but for arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saddlepoint.error import Mistake

# of each class of data, the keys that are facts: null means that they are read
FACTS = {
    "image_folder": ("shape", "bits"),
    "audio_folder": ("shape", "rate", "bits"),
    "text_lines": ("shape", "vocabulary"),
}
IMAGE_BITS = 8  # of files, and of arrays that do not say more


def kind_of(target: str) -> str | None:
    """image_folder, audio_folder or text_lines, of the path of a class of this package; None for any other."""
    package, _, rest = target.partition("saddlepoint.data.")
    name = rest.partition(".")[0]
    return name if not package and name in FACTS else None


def missing(kind: str, data: Mapping[str, Any]) -> list[str]:
    """The facts that are null; of a config from before there was such a key, it is not missing."""
    return [key for key in FACTS[kind] if key in data and data[key] is None]


def read(kind: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The facts, classes among them, and the number of samples; None where it was not counted.  Raises Mistake."""
    from saddlepoint.data import listing

    folder = data["folder"]
    if kind == "image_folder":
        if data["shape"] is not None and not listing.is_array(folder):
            return {"bits": IMAGE_BITS}, None  # of a run of before, whose folder may be gone
        found, number = images(folder, data["size"], data["channels"])
        return {"bits": IMAGE_BITS, **found}, number
    if kind == "audio_folder":
        from saddlepoint.data import sound  # numpy

        return sound.facts_of(folder, data["length"])
    from saddlepoint.data import text

    return text.facts(text.files(folder), data["unit"], data["length"], data["vocabulary"])


def images(folder: str | Path | None, size: Any = None, channels: int = 3) -> tuple[dict[str, Any], int]:
    """{"shape": [C, H, W], "classes": K or None} and the number of images of a folder or zip, from its names and its
    first image's header; of an .npz or .npy from its array's header and its labels, with "bits": 16 where it has so
    many."""
    from saddlepoint.data import listing

    if listing.is_array(folder):
        from saddlepoint.data import array  # numpy and torch

        if size is not None:
            raise Mistake(f"data.size={size}: it is for files of images; an array's are as they are. Leave it null.")
        return array.facts(listing.place_of(folder), channels)
    from saddlepoint.data import picture  # Pillow

    picture.check_channels(channels)
    found = listing.listing(folder)
    return picture.facts(found, size, channels), len(found.names)
