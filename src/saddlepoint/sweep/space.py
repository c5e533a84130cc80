"""The search space: ranges of numbers, and choices between overrides.

A dimension defines its possible values, how Optuna proposes one, and the overrides for each value. Optuna works with
labels and numbers, and runs with overrides, so that everything a command line can set can be searched.
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
    """Numbers from `low` to `high`, both included; integers if low, high and step are integers."""

    key: str
    low: float
    high: float
    log: bool = False  # sample uniformly in the logarithm
    step: float | None = None  # None: any number; for integers, every integer

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
        """All values; None if there are infinitely many."""
        step = self.step or (1 if self.is_integer else None)
        if step is None:
            return None
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [self.low + i * step for i in range(count)]

    @property
    def test_values(self) -> Sequence[Value]:
        """The values that are validated before a search; if these are valid, all are assumed to be."""
        return [self.low, self.high] if self.is_integer else [float(self.low), float(self.high)]

    @property
    def as_dict(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def overrides(self, value: Value) -> tuple[str, ...]:
        return (f"{self.key}={value!r}",)


@dataclass(frozen=True)
class Choice:
    """One of several labels, each with its overrides."""

    key: str
    levels: Mapping[str, tuple[str, ...]]
    has_bundles: bool = False  # labels are user-defined names of several overrides; a run records its label

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
        return {"choices": {label: list(overrides) for label, overrides in self.levels.items()}}

    def overrides(self, value: Value) -> tuple[str, ...]:
        return self.levels[str(value)]


Dimension = Range | Choice


def comparable_form(plain: Mapping[str, Any]) -> Any:
    """Return a plain dimension in a form that is equal only if Optuna accepts the trials of both.

    The order of choices counts, and whether numbers are integers.
    """
    if "choices" in plain:
        return list(plain["choices"].items())
    return dict(plain), Range("", **plain).is_integer


def format_params(params: Mapping[str, Any]) -> str:
    """Return the values of a trial as text: "optimizer.generator.lr=0.000312 objective=hinge"."""
    return " ".join(f"{key}={format_param(value)}" for key, value in params.items())


def format_param(value: Any) -> str:
    """Return a value as text, with three digits if it is a float."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
