"""Joins command lines, so that a test composes few configs."""

import shlex
from collections.abc import Iterable


def top_level_keys(command: str) -> set[str]:
    """The top-level keys that the overrides of a command set; an experiment or a protocol may set any."""
    keys = {word.partition("=")[0].lstrip("+~").rpartition("@")[2].partition(".")[0] for word in shlex.split(command)}
    return {"any"} if keys & {"experiment", "protocol"} else keys


def packed(commands: Iterable[str]) -> list[str]:
    """The commands joined into few that set no top-level key twice, because composing takes a tenth of a second."""
    joined: list[str] = []
    for command in sorted(commands):
        keys = top_level_keys(command)
        fits = (i for i, other in enumerate(joined) if "any" not in keys | top_level_keys(other))
        free = next((i for i in fits if not keys & top_level_keys(joined[i])), None)
        if free is None:
            joined.append(command)
        else:
            joined[free] += f" {command}"
    return joined
