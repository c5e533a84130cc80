"""A number as a function of the images shown so far.

Wherever a yaml holds a learning rate, a beta, a regularizer's weight or a half-life, a schedule may stand instead.
"""

from collections.abc import Callable
from typing import Any


class Schedule:
    """images -> number."""

    def __call__(self, images: int) -> float:
        """The number in force after `images` images."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(images)")


def value_at(value: Any, images: int) -> Any:
    """The number in force: schedules are asked, inside lists and tuples too; all else stands for itself."""
    if isinstance(value, Callable):
        return value(images)
    if isinstance(value, list | tuple):
        return tuple(value_at(part, images) for part in value)
    return value


def has_schedule(value: Any) -> bool:
    """Whether `value` is a schedule or holds one."""
    return isinstance(value, Callable) or (isinstance(value, list | tuple) and any(map(has_schedule, value)))
