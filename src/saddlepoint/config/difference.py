"""In what two plain configs, or other mappings of plain values, differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from saddlepoint.config.training_keys import leaves, same


class _Nothing:
    """What stands at a key that a config has not; no value of a config is equal to it."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING: Final = _Nothing()


def difference(
    old: Mapping[Any, Any], new: Mapping[Any, Any], ignore: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """By dotted key, what stands in `old` and in `new` where that differs, NOTHING where one has no such key.

    Lists and empty mappings are leaves; 1, 1.0 and true are three values.  Keys at or below one of `ignore` are left
    out.  In the order of `new`, then what is in `old` alone.
    """
    ours, theirs = (dict(leaves(own)) if own else {} for own in (old, new))
    both = {key: (ours.get(key, NOTHING), theirs.get(key, NOTHING)) for key in {**theirs, **ours}}
    return {key: pair for key, pair in both.items() if not same(*pair) and not _below(key, ignore)}


def _below(key: str, places: Collection[str]) -> bool:
    return any(f"{key}.".startswith(f"{place}.") for place in places)
