"""What a search varies: ranges of numbers, and choices between words of the command line.

A dimension knows the values that it can take, how Optuna proposes one, and which words say it. Optuna sees labels and
numbers; a run sees words, so that whatever a command line can say can be searched over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = float | int | str


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where low, high and step are whole."""

    key: str
    low: float
    high: float
    log: bool = False  # even in the logarithm
    step: float | None = None  # None: any number between; of whole numbers, each

    @property
    def is_integer(self) -> bool:
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_integer:
            return IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(float(self.low), float(self.high), self.log, self.step)

    @property
    def values(self) -> Sequence[Value] | None:
        """All of them, None where there are infinitely many."""
        step = self.step or (1 if self.is_integer else None)
        if step is None:
            return None
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [self.low + i * step for i in range(count)]

    @property
    def test_values(self) -> Sequence[Value]:
        """Values that show whether a run can have any of them."""
        return [self.low, self.high] if self.is_integer else [float(self.low), float(self.high)]

    @property
    def as_dict(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def overrides(self, value: Value) -> tuple[str, ...]:
        return (f"{self.key}={value!r}",)


@dataclass(frozen=True)
class Choice:
    """One of several labels, each of which stands for words."""

    key: str
    levels: Mapping[str, tuple[str, ...]]
    has_bundles: bool = False  # its labels are names that somebody gave to words; a run has them on record

    @property
    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(tuple(self.levels))

    @property
    def values(self) -> Sequence[Value]:
        return list(self.levels)

    test_values = values

    @property
    def as_dict(self) -> dict[str, Any]:
        return {"choices": {label: list(words) for label, words in self.levels.items()}}

    def overrides(self, value: Value) -> tuple[str, ...]:
        return self.levels[str(value)]


Dimension = Range | Choice


def comparable_form(plain: Mapping[str, Any]) -> Any:
    """A plain dimension as Optuna holds it to its trials: choices by their order, and whether numbers are whole."""
    if "choices" in plain:
        return list(plain["choices"].items())
    return dict(plain), Range("", **plain).is_integer


def format_params(params: Mapping[str, Any]) -> str:
    """ "optimizer.generator.lr=0.000312 objective=hinge": the values of a trial, to read."""
    return " ".join(f"{key}={format_param(value)}" for key, value in params.items())


def format_param(value: Any) -> str:
    """A value to three digits; whole numbers and words as they are."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
