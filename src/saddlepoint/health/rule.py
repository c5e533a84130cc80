"""A rule: a reading that stays beyond a bound raises an alarm, and one that comes back clears it.

    raised    once the reading was beyond `raise_at` at `after` looks in a row
    cleared   at the first look at which it is back within `clear_at`

Between the two bounds nothing changes (hysteresis, as a Schmitt trigger has it), so that a reading that trembles about
one bound alarms once.  A look at which there is no reading changes nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

RAISED, CLEARED = "raised", "cleared"
Readings = Mapping[str, float]


@dataclass(frozen=True)
class Remedy:
    """What the literature tries: what it is, where it stands, and what to type ("" where no piece of ours does it)."""

    what: str
    source: str
    overrides: str = ""


class Rule:
    """One rule, and how it stands.  Its name is what `stop` and the alarm call it.

    raise_at, clear_at  bounds of the reading; the rule looks upwards where clear_at is below raise_at
    after               so many looks in a row
    since               no look counts before so many images
    Raises ValueError where the bounds are the wrong way round, or a count is no whole number.
    """

    name: ClassVar[str]
    reading: ClassVar[str]  # what it looks at, and what its bounds are drawn on
    upwards: ClassVar[bool] = True  # whether large readings are the bad ones
    means: ClassVar[str]  # one line: what has gone wrong
    source: ClassVar[str]  # who says that this is a sign of it
    remedies: ClassVar[tuple[Remedy, ...]]

    def __init__(self, raise_at: float, clear_at: float, after: int, since: int = 0) -> None:
        between = raise_at > clear_at if self.upwards else raise_at < clear_at
        if not between:
            way = "below" if self.upwards else "above"
            raise ValueError(
                f"{self.name}: clear_at={clear_at} must be {way} raise_at={raise_at}; an alarm clears where all is well"
            )
        for name, value, least in (("after", after, 1), ("since", since, 0)):
            if type(value) is not int or value < least:
                raise ValueError(f"{self.name}: {name}={value} must be a whole number of at least {least}")
        self.raise_at, self.clear_at, self.after, self.since = raise_at, clear_at, after, since
        self.raised, self.row = False, 0  # looks in a row beyond raise_at

    def value(self, readings: Readings) -> float | None:
        """The number that is held against the bounds; None where this look has none."""
        return readings.get(self.reading)

    def reading_name(self, readings: Readings) -> str:
        """The name of the reading that the value is, at this look."""
        return self.reading

    def bound_scale(self, readings: Readings, images: int) -> float:
        """What the bounds are multiplied by, at this look."""
        return 1.0

    def observe(self, readings: Readings, images: int) -> str | None:
        """RAISED or CLEARED at the look that changes the rule's state, else None."""
        value = self.value(readings)
        if value is None or images < self.since:
            return None
        scale = self.bound_scale(readings, images)
        self.row = self.row + 1 if self._beyond(value, scale * self.raise_at) else 0
        if not self.raised and self.row >= self.after:
            self.raised = True
            return RAISED
        if self.raised and not self._beyond(value, scale * self.clear_at):
            self.raised = False
            return CLEARED
        return None

    def event_record(self, happened: str, readings: Readings, images: int) -> dict[str, Any]:
        """One line of health.jsonl, with all that a page about it needs."""
        return {
            "images": images,
            "rule": self.name,
            "event": happened,
            "reading": self.reading_name(readings),
            "value": self.value(readings),
            "bound": self.bound_scale(readings, images) * (self.raise_at if happened == RAISED else self.clear_at),
            "after": self.after,
            "means": self.means,
            "source": self.source,
            "remedies": [asdict(remedy) for remedy in self.remedies],
        }

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"raised": self.raised, "row": self.row}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self.raised, self.row = bool(state["raised"]), int(state["row"])

    def _beyond(self, value: float, bound: float) -> bool:
        return value > bound if self.upwards else value < bound
