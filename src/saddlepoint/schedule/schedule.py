"""A number as a function of the images shown so far.

A yaml may have a schedule instead of a number for a learning rate, a beta, a regularizer's weight or a half-life.
"""

from typing import Any


class Schedule:
    """images -> number."""

    def __call__(self, images: int) -> float:
        """Return the number after `images` images."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(images)")


def value_at(value: Any, images: int) -> Any:
    """Evaluate a schedule, or the schedules inside a list or tuple, after `images` images; return others unchanged."""
    if callable(value):
        return value(images)
    if isinstance(value, list | tuple):
        return tuple(value_at(item, images) for item in value)
    return value


def has_schedule(value: Any) -> bool:
    """Whether `value` is a schedule, or a list or tuple with one."""
    return callable(value) or (isinstance(value, list | tuple) and any(map(has_schedule, value)))
