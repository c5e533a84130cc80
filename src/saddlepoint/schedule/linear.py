"""From one number to another along a straight line."""

from saddlepoint.schedule.ramp import Ramp


class Linear(Ramp):
    """start + (end - start) t."""

    def curve(self, t: float) -> float:
        """Return t."""
        return t
