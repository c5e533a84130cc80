"""Rules: a reading that stays beyond a bound raises an alarm, and one that returns clears it.

    raised    if the reading was beyond `raise_at` at `after` consecutive checks
    cleared   at the first check at which it is within `clear_at` again

Between the two bounds the state does not change (hysteresis, as in a Schmitt trigger), so a reading that fluctuates
about one bound raises one alarm.  A check without a reading changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from saddlepoint.run.alarm import CLEARED, RAISED

Readings = Mapping[str, float]


@dataclass(frozen=True)
class Remedy:
    """What the literature recommends, its source, and the overrides to type ("" if saddlepoint does not have it)."""

    what: str
    source: str
    overrides: str = ""


class Rule:
    """A rule and its state.  `stop` and alarms refer to it by its name.

    raise_at, clear_at  bounds of the reading; large readings raise the alarm if clear_at is below raise_at
    after               number of consecutive checks
    since               checks before this number of images are ignored
    Raises ValueError if the bounds are in the wrong order, or a count is not an integer.
    """

    name: ClassVar[str]
    reading: ClassVar[str]  # name of the reading that is compared with the bounds
    upwards: ClassVar[bool] = True  # whether large readings raise the alarm
    means: ClassVar[str]  # what has gone wrong, in one line
    source: ClassVar[str]  # reference for this sign
    remedies: ClassVar[tuple[Remedy, ...]]

    def __init__(self, raise_at: float, clear_at: float, after: int, since: int = 0) -> None:
        in_order = raise_at > clear_at if self.upwards else raise_at < clear_at
        if not in_order:
            way = "below" if self.upwards else "above"
            raise ValueError(f"{self.name}: clear_at={clear_at} must be {way} raise_at={raise_at}, on its healthy side")
        for name, value, least in (("after", after, 1), ("since", since, 0)):
            if type(value) is not int or value < least:
                raise ValueError(f"{self.name}: {name}={value} must be an integer of at least {least}")
        self.raise_at, self.clear_at, self.after, self.since = raise_at, clear_at, after, since
        self.raised, self.consecutive = False, 0  # consecutive checks beyond raise_at

    def value(self, readings: Readings) -> float | None:
        """Return the value that is compared with the bounds, or None if there is no reading."""
        return readings.get(self.reading)

    def reading_name(self, readings: Readings) -> str:
        """Return the name of the reading that `value` returns."""
        return self.reading

    def bound_scale(self, readings: Readings, images: int) -> float:
        """Return the factor of the bounds at this check."""
        return 1.0

    def observe(self, readings: Readings, images: int) -> str | None:
        """Update the state; return RAISED or CLEARED if it changes, else None."""
        value = self.value(readings)
        if value is None or images < self.since:
            return None
        scale = self.bound_scale(readings, images)
        self.consecutive = self.consecutive + 1 if self._is_beyond(value, scale * self.raise_at) else 0
        if not self.raised and self.consecutive >= self.after:
            self.raised = True
            return RAISED
        if self.raised and not self._is_beyond(value, scale * self.clear_at):
            self.raised = False
            return CLEARED
        return None

    def event_record(self, change: str, readings: Readings, images: int) -> dict[str, Any]:
        """Return a line of health.jsonl, which holds everything that the post-mortem needs."""
        return {
            "images": images,
            "rule": self.name,
            "event": change,
            "reading": self.reading_name(readings),
            "value": self.value(readings),
            "bound": self.bound_scale(readings, images) * (self.raise_at if change == RAISED else self.clear_at),
            "after": self.after,
            "means": self.means,
            "source": self.source,
            "remedies": [{"what": one.what, "source": one.source, "words": one.overrides} for one in self.remedies],
        }

    @property
    def state(self) -> dict[str, Any]:
        """The state that a checkpoint saves."""
        return {"raised": self.raised, "row": self.consecutive}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self.raised, self.consecutive = bool(state["raised"]), int(state["row"])

    def _is_beyond(self, value: float, bound: float) -> bool:
        return value > bound if self.upwards else value < bound
