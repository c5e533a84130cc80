"""From one number to another at a constant factor per image: a straight line of the logarithm."""

from saddlepoint.schedule.ramp import Ramp


class Exponential(Ramp):
    """start (end / start)^t.  Raises ValueError unless both are positive."""

    def __init__(self, start: float, end: float, images: int, begin: int = 0) -> None:
        if not (start > 0 and end > 0):
            raise ValueError(f"Exponential: start={start} and end={end} must be positive")
        super().__init__(start, end, images, begin)

    def curve(self, t: float) -> float:
        """Return (r^t - 1) / (r - 1) for r = end / start; t if r = 1."""
        ratio = self.end / self.start
        return t if ratio == 1 else (ratio**t - 1) / (ratio - 1)
