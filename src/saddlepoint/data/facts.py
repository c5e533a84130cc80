"""What a config says of data from a folder of your own, read off the folder.  Imports no torch, but for arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    if kind == "image_folder":
        return _images(data)
    from saddlepoint.data import listing  # Pillow, for folders alone

    if kind == "audio_folder":
        from saddlepoint.data import sound  # numpy

        if listing.is_array(data["folder"]):
            return sound.array_facts(listing.place_of(data["folder"]), data["length"])
        found = listing.listing(data["folder"], sound.WAVES)
        return sound.facts(found, data["length"]), len(found.names)
    from saddlepoint.data import text

    return text.facts(text.files(data["folder"]), data["unit"], data["length"], data["vocabulary"])


def _images(data: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    from saddlepoint.data import listing

    if data["shape"] is not None and not listing.is_array(data["folder"]):
        return {"bits": IMAGE_BITS}, None  # of a run of before, whose folder may be gone
    found, number = listing.counted(data["folder"], data["size"], data["channels"])
    return {"bits": IMAGE_BITS, **found}, number
