"""Comparison of the data that a run was trained on, as recorded in provenance.json, with the data of today."""

from collections.abc import Mapping
from typing import Any

SHOWN = 8  # hex digits of a sha256 in messages


def data_differences(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return the differences between two descriptions of data (`Data.describe`) as text; [] if there are none.

    A field that only one of them has is not compared, such as the hash of data that are read from disk in each epoch.
    """
    changed = [key for key in ("name", "shape") if _recorded_value_differs(recorded, current, key)]
    differences = [f"{key} {recorded[key]} -> {current[key]}" for key in changed]
    if _recorded_value_differs(recorded, current, "class_names"):
        differences.append(f"classes {', '.join(recorded['class_names'])} -> {', '.join(current['class_names'])}")
    old, new = (description.get("sizes") or {} for description in (recorded, current))
    old_hashes, new_hashes = (description.get("sha256") or {} for description in (recorded, current))
    for split in {**old, **new} if old and new else ():
        content_changed = _recorded_value_differs(old_hashes, new_hashes, split)
        if content_changed or old.get(split) != new.get(split):
            hashes = f" (sha256 {old_hashes[split][:SHOWN]} -> {new_hashes[split][:SHOWN]})" if content_changed else ""
            counts = (f"{sizes[split]:,}" if split in sizes else "none" for sizes in (old, new))
            differences.append(f"{split} {' -> '.join(counts)}{hashes}")
    all_hashed = all(old_hashes.get(split) and new_hashes.get(split) for split in {**old, **new})
    if not differences and not all_hashed and _recorded_value_differs(recorded, current, "files"):
        hashes = f"sha256 {recorded['files'][:SHOWN]} -> {current['files'][:SHOWN]}"
        differences.append(f"names or sizes of files ({hashes})")
    return differences


def _recorded_value_differs(recorded: Mapping[str, Any], current: Mapping[str, Any], key: str) -> bool:
    """Whether both have a value for `key` and the values differ."""
    return recorded.get(key) is not None and current.get(key) is not None and recorded[key] != current[key]
