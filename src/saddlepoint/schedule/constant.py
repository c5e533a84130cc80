"""One number at all times."""

from saddlepoint.schedule.schedule import Schedule


class Constant(Schedule):
    """value."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, images: int) -> float:
        """value, whatever the images."""
        return self.value
