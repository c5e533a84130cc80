"""What the metrics share: a container that sums over ranks, fed with features, whose reals may come from a cache."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torchmetrics
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features


class Result(NamedTuple):
    """One number that a metric gives."""

    value: Tensor | float
    std: Tensor | float | None = None  # over the parts of an Inception score
    detail: Mapping[str, Any] = {}  # plain values behind it, ready for JSON: per class, a null distribution
    n: int | None = None  # of an anchor: its samples, where they are not as many as the fakes


class Metric(torchmetrics.Metric):
    """A metric of fakes against reals.

    Fakes and reals are given by `update`, over any number of batches and ranks; or the reals by `refer`, with what
    `reference` gave when they were last seen.  The reference is no state, so it is never summed over ranks: each rank
    holds all of it.  Ranks that take contiguous parts of the fakes give, joined, the order of one process.
    """

    is_differentiable = False
    full_state_update = False
    needs_logits: ClassVar[bool] = False  # of the fakes
    needs_labels: ClassVar[bool] = False  # of the fakes: the class that each was asked for
    needs_reals: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True  # or logits; False: it reads the samples, and no other extractor moves it
    extractor_accuracy: float | None = (
        None  # of the extractor on real test samples, in [0, 1], where it is known: set for it
    )
    has_fixed_reference: ClassVar[bool] = False  # whether `reference` is the same whatever the number of fakes
    contract_attributes: ClassVar[tuple[str, ...]] = ()  # its attributes that the contract names
    uses_anchor_sets: ClassVar[bool] = (
        True  # whether the anchors' sets are measured too; False where a set takes minutes
    )

    def __init__(self) -> None:
        super().__init__()
        self._reference: dict[str, Tensor] | None = None

    def declare_states(self, *names: str) -> None:
        """Begin a state for each of `names` that `take` adds to, batch by batch and rank by rank."""
        for name in names:
            self.add_state(name, [], dist_reduce_fx="cat")

    def append_rows(self, name: str, value: Tensor) -> None:
        """Add the rows of value [n, ...] to a state."""
        getattr(self, name).append(value.to(self.device))

    def all_rows(self, name: str) -> Tensor:
        """All rows of a state."""
        return dim_zero_cat(getattr(self, name))

    def setup(self, data: DataLike) -> str | None:
        """Look at the data that will be measured against: their modes, their test split.

        Returns why they cannot be measured by this metric, for people, or None.  Called again when the data change.
        """
        return None

    def update(self, features: Features, real: bool) -> None:
        """Take in the features of some reals or some fakes."""
        raise NotImplementedError

    def compute(self) -> Any:
        """The value, (value, std over splits), a Result, or several: {suffix: any of these}, float64.

        The suffix "" stands for the metric's own name, "max" for <name>_max.
        """
        raise NotImplementedError

    def results(self) -> dict[str, Result]:
        """What `compute` says, by suffix."""
        return self.to_results(self.compute())

    @staticmethod
    def to_results(found: Any) -> dict[str, Result]:
        """Anything that `compute` may give, as results by suffix."""
        several = found if isinstance(found, dict) else {"": found}
        return {suffix: Result(*one) if isinstance(one, tuple) else Result(one) for suffix, one in several.items()}

    def directions(self) -> dict[str, bool]:
        """Whether higher is better, by suffix, of everything that `compute` may give."""
        return {"": bool(self.higher_is_better)}

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        """What the contract says of this metric, and what its reference depends on."""
        return {name: getattr(self, name) for name in self.contract_attributes}

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        """Why so few samples cannot be measured, for people; None where they can."""
        return None

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        """What to mind when reading a score of so few samples of so many features, for people; None where nothing."""
        return None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """What it needs of the reals that it has seen, to be measured against `n_fake` fakes."""
        return {}

    def set_reference(self, reference: Mapping[str, Tensor] | None) -> None:
        """Measure against the reals of `reference`, on this metric's device; None: those given by `update`."""
        moved = {name: value.to(self.device) for name, value in (reference or {}).items()}
        self._reference = moved or None
        self._computed = None

    def anchor_settings(self) -> dict[str, Any]:
        """What its own anchors depend on beside `settings`, plain."""
        return {}

    def anchor_values(self, n: int) -> dict[str, Any]:
        """Anchors of this metric's own, {set: what `compute` would give for it}, beside those that all metrics share.

        Called after `meet`; `n` is the number of fakes.
        """
        return {}

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> torchmetrics.Metric:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move to another device, never to another dtype: a sum of squares in float32 is worth nothing."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(fn(tensor).device)

        super()._apply(moved, exclude_state)  # pyright: ignore[reportArgumentType]
        return self


class FeatureMetric(Metric):
    """A metric that keeps the features of all samples until it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.declare_states("real", "fake")

    def update(self, features: Features, real: bool) -> None:
        self.append_rows("real" if real else "fake", features.features)

    def reference_and_fakes(self) -> tuple[dict[str, Tensor], Tensor]:
        """The reference, and the fakes."""
        fake = self.all_rows("fake")
        return self._reference or self.reference(len(fake)), fake


def metric_name(name: str, suffix: str) -> str:
    """A score's metric: "fid", or "class_fid_max"."""
    return f"{name}_{suffix}" if suffix else name
