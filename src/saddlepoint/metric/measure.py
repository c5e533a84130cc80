"""What the metrics share: a container that sums over ranks, fed with features, whose reals may come from a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import Metric

from saddlepoint.metric.extractor import Features


class Measure(Metric):
    """A metric of fakes against reals.

    Fakes and reals are given by `update`, over any number of batches and ranks; or the reals by `refer`, with what
    `reference` gave when they were last seen.  The reference is no state, so it is never summed over ranks: each rank
    holds all of it.  Ranks that take contiguous parts of the fakes give, joined, the order of one process.
    """

    is_differentiable = False
    full_state_update = False
    needs_logits: ClassVar[bool] = False  # of the fakes
    needs_reals: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._reference: dict[str, Tensor] | None = None

    def update(self, features: Features, real: bool) -> None:
        """Take in the features of some reals or some fakes."""
        raise NotImplementedError

    def compute(self) -> Any:
        """The value, or (value, std over splits), float64."""
        raise NotImplementedError

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        """What the contract says of this metric, and what its reference depends on."""
        return {}

    def obstacle(self, n_real: int, n_fake: int) -> str | None:
        """Why so few samples cannot be measured, for people; None where they can."""
        return None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """What it needs of the reals that it has seen, to be measured against `n_fake` fakes."""
        return {}

    def refer(self, reference: Mapping[str, Tensor] | None) -> None:
        """Measure against the reals of `reference`, on this metric's device; None: those given by `update`."""
        moved = {name: value.to(self.device) for name, value in (reference or {}).items()}
        self._reference = moved or None
        self._computed = None

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> Metric:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move to another device, never to another dtype: a sum of squares in float32 is worth nothing."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(fn(tensor).device)

        super()._apply(moved, exclude_state)  # pyright: ignore[reportArgumentType]
        return self
