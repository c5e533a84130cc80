"""A number that is multiplied at stated moments."""

from collections.abc import Sequence

from saddlepoint.schedule.schedule import Schedule


class Step(Schedule):
    """value * factor^(number of milestones reached); milestones in images."""

    def __init__(self, value: float, milestones: Sequence[int], factor: float = 0.1) -> None:
        self.value, self.milestones, self.factor = value, milestones, factor

    def __call__(self, images: int) -> float:
        """value * factor^k, k = how many milestones <= images."""
        return self.value * self.factor ** sum(images >= milestone for milestone in self.milestones)
