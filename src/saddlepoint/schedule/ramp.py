"""The base class of schedules from one number to another."""

from saddlepoint.schedule.schedule import Schedule


class Ramp(Schedule):
    """`start` until `begin` images, `end` from `images` images on, and `curve` between them, which a subclass defines.

    Raises ValueError unless 0 <= begin < images.
    """

    def __init__(self, start: float, end: float, images: int, begin: int = 0) -> None:
        if not 0 <= begin < images:
            raise ValueError(f"{type(self).__name__}: begin={begin} must be at least 0 and below images={images}")
        self.start, self.end, self.images, self.begin = start, end, images, begin

    def __call__(self, images: int) -> float:
        """Return start + (end - start) curve(t), t = (images - begin) / (self.images - begin) clamped to [0, 1]."""
        t = min(max((images - self.begin) / (self.images - self.begin), 0.0), 1.0)
        return self.start + (self.end - self.start) * self.curve(t)

    def curve(self, t: float) -> float:
        """Return the fraction of the change that is reached at time t, both in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} must define curve(t)")
