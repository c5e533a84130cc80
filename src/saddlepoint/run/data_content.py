"""Whether data are those that a run was trained on: what provenance.json has of them, against what they are now."""

from collections.abc import Mapping
from typing import Any

SHOWN = 8  # hex digits of a sha256, for people


def data_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two descriptions of data (`Data.describe`), for people; [] where nothing does.

    What one of them lacks, such as the hash of a set that is read from disk, is not compared.
    """
    found = [f"{key} {then[key]} -> {now[key]}" for key in ("name", "shape") if _apart(then, now, key)]
    if _apart(then, now, "class_names"):
        found.append(f"classes {', '.join(then['class_names'])} -> {', '.join(now['class_names'])}")
    old, new = (one.get("sizes") or {} for one in (then, now))
    before, after = (one.get("sha256") or {} for one in (then, now))
    for split in {**old, **new} if old and new else ():
        content = _apart(before, after, split)
        if content or old.get(split) != new.get(split):
            hashes = f" (sha256 {before[split][:SHOWN]} -> {after[split][:SHOWN]})" if content else ""
            sizes = (f"{one[split]:,}" if split in one else "none" for one in (old, new))
            found.append(f"{split} {' -> '.join(sizes)}{hashes}")
    hashed = all(before.get(split) and after.get(split) for split in {**old, **new})
    if not found and not hashed and _apart(then, now, "files"):
        found.append(f"names or sizes of files (sha256 {then['files'][:SHOWN]} -> {now['files'][:SHOWN]})")
    return found


def _apart(then: Mapping[str, Any], now: Mapping[str, Any], key: str) -> bool:
    """Whether both have a value, and not the same."""
    return then.get(key) is not None and now.get(key) is not None and then[key] != now[key]
