"""From one number to another along half a cosine.  Loshchilov & Hutter 2016 (arXiv:1608.03983), eq. 5."""

import math

from saddlepoint.schedule.ramp import Ramp


class Cosine(Ramp):
    """start + (end - start) (1 - cos(pi t)) / 2."""

    def curve(self, t: float) -> float:
        """Return (1 - cos(pi t)) / 2."""
        return (1 - math.cos(math.pi * t)) / 2
