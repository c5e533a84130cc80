"""Seconds as people read them."""

HOUR = 3600.0


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "7.5 h": from 100 of a unit on in the next larger one."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / HOUR:.2g} h"
