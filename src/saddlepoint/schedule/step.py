"""A number that is multiplied by a factor at milestones."""

from collections.abc import Sequence

from saddlepoint.schedule.schedule import Schedule


class Step(Schedule):
    """value * factor^(number of milestones reached); milestones in images."""

    def __init__(self, value: float, milestones: Sequence[int], factor: float = 0.1) -> None:
        self.value, self.milestones, self.factor = value, milestones, factor

    def __call__(self, images: int) -> float:
        """Return value * factor^k, k the number of milestones <= images."""
        return self.value * self.factor ** sum(images >= milestone for milestone in self.milestones)
