"""A mistake that a person can mend, told in a line or two."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class Mistake(Exception):
    """What is wrong, where, and what to do; printed as it stands, without a traceback; `exit` is the exit code."""

    exit = 1


class Lost(Mistake):
    """Another rank of the same run is gone, and waiting for it is in vain; its own words tell why."""

    exit = 76  # launcher.ranks tells it from the exit code of the one that failed first


def close(word: str, there: Iterable[str]) -> list[str]:
    """At most three of `there` that look like `word`, best first."""
    return get_close_matches(word, list(dict.fromkeys(there)), n=3, cutoff=0.6)


def did_you_mean(word: str, there: Iterable[str]) -> str:
    """ " Did you mean a or b?", "" where nothing is close."""
    found = close(word, there)
    return f" Did you mean {' or '.join(found)}?" if found else ""
