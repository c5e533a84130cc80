"""A constant."""

from saddlepoint.schedule.schedule import Schedule


class Constant(Schedule):
    """value, at any time."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, images: int) -> float:
        """Return value."""
        return self.value
