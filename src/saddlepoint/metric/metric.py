"""Base classes of metrics: torchmetrics metrics that are fed with features and can take their reals from a cache."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torchmetrics
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features


class Result(NamedTuple):
    """One value of a metric."""

    value: Tensor | float
    std: Tensor | float | None = None  # over the parts of an Inception score
    detail: Mapping[str, Any] = {}  # plain values, ready for JSON: results per class, a null distribution
    n: int | None = None  # number of samples of an anchor, if it differs from the number of fakes


class Metric(torchmetrics.Metric):
    """A metric of fakes, usually against reals.

    `update` takes features of fakes and reals, over any number of batches and ranks.  Instead of reals, `set_reference`
    takes the tensors that `reference` returned for them earlier.  The reference is not a state, so it is not summed
    over ranks: each rank holds all of it.  If ranks take contiguous chunks of the fakes, synchronising keeps the order.
    """

    is_differentiable = False
    full_state_update = False
    needs_logits: ClassVar[bool] = False  # of the fakes
    needs_labels: ClassVar[bool] = False  # of the fakes: the classes that they were generated for
    needs_target: ClassVar[bool] = False  # of each fake: the truth that it should be equal to
    needs_reals: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True  # or logits; False: it reads the samples, whatever the extractor
    extractor_accuracy: float | None = None  # on real test samples, in [0, 1], if known; set by the evaluator
    has_fixed_reference: ClassVar[bool] = False  # whether `reference` does not depend on the number of fakes
    contract_attributes: ClassVar[tuple[str, ...]] = ()  # attributes that `settings` records in the contract
    uses_anchor_sets: ClassVar[bool] = True  # whether the common anchor sets are measured; False if one takes minutes

    def __init__(self) -> None:
        super().__init__()
        self._reference: dict[str, Tensor] | None = None

    def declare_states(self, *names: str) -> None:
        """Add a list state for each name, concatenated over batches and ranks.  See `append_rows`."""
        for name in names:
            self.add_state(name, [], dist_reduce_fx="cat")

    def append_rows(self, name: str, value: Tensor) -> None:
        """Append the rows of value [n, ...] to a state."""
        getattr(self, name).append(value.to(self.device))

    def all_rows(self, name: str) -> Tensor:
        """Return all rows of a state, concatenated."""
        return dim_zero_cat(getattr(self, name))

    def setup(self, data: DataLike) -> str | None:
        """Read what the metric needs of the data set, such as its modes or its test split.

        Returns why the metric cannot measure these data, as text, or None.  Called again when the data change.
        """
        return None

    def update(self, features: Features, real: bool) -> None:
        """Add the features of a batch of reals or fakes."""
        raise NotImplementedError

    def compute(self) -> Any:
        """Return the value, (value, std), a Result, or several of these, {suffix: value}; float64.

        The suffix "" gives the metric's name, "max" gives <name>_max.
        """
        raise NotImplementedError

    def results(self) -> dict[str, Result]:
        """Return the results of `compute`, by suffix."""
        return self.to_results(self.compute())

    @staticmethod
    def to_results(values: Any) -> dict[str, Result]:
        """Convert a return value of `compute` to results by suffix."""
        by_suffix = values if isinstance(values, dict) else {"": values}
        return {suffix: Result(*one) if isinstance(one, tuple) else Result(one) for suffix, one in by_suffix.items()}

    def directions(self) -> dict[str, bool]:
        """Whether higher is better, for each suffix that `compute` may return."""
        return {"": bool(self.higher_is_better)}

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        """Return the settings that the contract records.  The cached reference depends on them too."""
        return {name: getattr(self, name) for name in self.contract_attributes}

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        """Return why this number of samples cannot be measured, as text, or None if it can."""
        return None

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        """Return a warning about scores of so few samples with `dim` features, as text, or None."""
        return None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return what the metric needs of the reals given to `update`, to measure `n_fake` fakes against them."""
        return {}

    def set_reference(self, reference: Mapping[str, Tensor] | None) -> None:
        """Measure against the reals of `reference`; None: against those given to `update`."""
        moved = {name: value.to(self.device) for name, value in (reference or {}).items()}
        self._reference = moved or None
        self._computed = None

    def anchor_settings(self) -> dict[str, Any]:
        """Return the settings on which `anchor_scores` depends, in addition to `settings`; plain values."""
        return {}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return anchors of this metric alone, {set: what `compute` would return for it}, for n fakes.

        Called after `setup`.
        """
        return {}

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> torchmetrics.Metric:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move to another device, but never to another dtype: float32 is too coarse for sums of squares."""

        def to_device(tensor: Tensor) -> Tensor:
            return tensor.to(fn(tensor).device)

        super()._apply(to_device, exclude_state)  # pyright: ignore[reportArgumentType]
        return self


class FeatureMetric(Metric):
    """A metric that keeps the features of all samples until `compute`."""

    def __init__(self) -> None:
        super().__init__()
        self.declare_states("real", "fake")

    def update(self, features: Features, real: bool) -> None:
        self.append_rows("real" if real else "fake", features.features)

    def reference_and_fakes(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the reference and the features of the fakes."""
        fake = self.all_rows("fake")
        return self._reference or self.reference(len(fake)), fake


def metric_name(name: str, suffix: str) -> str:
    """Return the contract's metric of a score, such as "fid" or "class_fid_max"."""
    return f"{name}_{suffix}" if suffix else name
