"""How a score was measured, to the last number: scores whose contracts differ are never compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# the arithmetic of this package's metrics: raised whenever any score would move, so that old scores stay honest. It
# is not the package's own version, which moves for reasons that move no score
VERSION = "1"


@dataclass(frozen=True)
class Contract:
    """The protocol of one score.  Two scores may stand in one column only where all of it is equal."""

    metric: str  # "fid", "inception_score", "coverage", ...
    n_real: int
    n_fake: int
    split: str  # of the reals: "train", "validation", "test"
    data: str  # sha256 of that split's content
    resolution: str  # "1x28x28" (C x H x W), or "2" for points
    resizer: str  # what brings images to the extractor's size; "none"
    extractor: str  # its name: "inception", "digits", "identity", ...
    extractor_sha256: str
    weights: str  # the generator's: "averaged", "raw"; "none" where no generator is measured
    seed: int  # of the evaluation: which reals are drawn where not all are
    library: str = "saddlepoint"
    version: str = VERSION
    settings: Mapping[str, Any] = field(default_factory=dict)  # the metric's own: k, splits, N, M, ...

    @property
    def key(self) -> str:
        """The score's name, "<metric>[_<extractor>]_<n fake>_<split>"; Inception goes without saying."""
        extractor = [] if self.extractor == "inception" else [self.extractor]
        return "_".join([self.metric, *extractor, count(self.n_fake), self.split])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Contract:
        """The contract that `to_dict` wrote; TypeError where a field is missing or unknown."""
        return cls(**plain)


@dataclass(frozen=True)
class Score:
    """A value and how it came about."""

    value: float
    contract: Contract
    std: float | None = None  # over the splits of an Inception score: not over seeds, nor over runs

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"value": self.value, "std": self.std, "contract": self.contract.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Score:
        """The score that `to_dict` wrote."""
        return cls(plain["value"], Contract.from_dict(plain["contract"]), plain["std"])


def count(n: int) -> str:
    """n in a score's name: "10k" for 10,000, "900" for 900; exact unless a multiple of 1,000."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)


def difference(a: Contract, b: Contract) -> str | None:
    """The first field in which two contracts differ ("split", "settings.k", ...), or None where they are equal."""
    left, right = a.to_dict(), b.to_dict()
    for name in left:
        if name == "settings":
            for setting in left[name] | right[name]:
                if left[name].get(setting) != right[name].get(setting):
                    return f"settings.{setting}"
        elif left[name] != right[name]:
            return name
    return None
