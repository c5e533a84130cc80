"""How a score was measured, to the last number: scores whose contracts differ are never compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from saddlepoint.error import Mistake

# the arithmetic of this package's metrics: raised whenever any score would move, so that old scores stay honest. It
# is not the package's own version, which moves for reasons that move no score
VERSION = "1"


@dataclass(frozen=True)
class Contract:
    """The protocol of one score.  Two scores may stand in one column only where all of it is equal."""

    metric: str  # "fid", "inception_score", "coverage", ...
    n_real: int | None  # None where statistics of others do not say
    n_fake: int
    split: str  # of the reals: "train", "validation", "test", "all"
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
    # the generator's batch-norm statistics: "running"; "reestimated", for averaged weights; "batch of <size>", which is
    # added where samples depend on those beside them in another way
    batch_norm: str = "running"
    dropout: bool = False  # whether the generator keeps dropout on, as pix2pix does
    altered: str = ""  # settings that were others in the generator's training, "prior.z.high: 1 -> 0.5; ..."

    @classmethod
    def for_samples(cls, metric: str, reals: Any, shape: Sequence[int], **rest: Any) -> Contract:
        """Of samples of `shape`, as networks see them, and reals with a name and a sha256; `rest` are other fields."""
        return cls(metric, split=reals.name, data=reals.sha256, resolution="x".join(map(str, shape)), **rest)

    @classmethod
    def for_players(
        cls, metric: str, players: str, split: Any, n: int, weights: str, settings: Mapping[str, Any]
    ) -> Contract:
        """Of a score of players and not of samples: no reals are compared, and n things were looked at."""
        own = {"extractor": players, "extractor_sha256": "none", "resizer": "none", "weights": weights}
        return cls.for_samples(metric, split, split.shape, n_real=None, n_fake=n, seed=0, settings=settings, **own)

    @property
    def score_name(self) -> str:
        """The score's name, "<metric>[_<extractor>]_<n fake>_<split>"; Inception goes without saying."""
        extractor = [] if self.extractor == "inception" else [self.extractor]
        return "_".join([self.metric, *extractor, format_count(self.n_fake), self.split])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = asdict(self) | {"settings": dict(self.settings)}
        if not self.dropout:
            del plain["dropout"]  # as scores were written before there was the field
        return plain


@dataclass(frozen=True)
class Score:
    """A value and how it came about."""

    value: float
    contract: Contract
    std: float | None = None  # over the splits of an Inception score: not over seeds, nor over runs
    detail: Mapping[str, Any] = field(default_factory=dict)  # plain values behind it: per class, a null distribution

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = {"value": self.value, "std": self.std, "contract": self.contract.to_dict()}
        return {**plain, "detail": dict(self.detail)} if self.detail else plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Score:
        """The score that `to_dict` wrote; TypeError where a field of its contract is missing or unknown."""
        return cls(plain["value"], Contract(**plain["contract"]), plain["std"], plain.get("detail", {}))


class Uncertainty(NamedTuple):
    """Standard errors of one score, None where they were not measured."""

    generations: float | None = None  # standard deviation over fresh generations
    mean: float | None = None  # over those generations
    reals: float | None = None  # had other reals been drawn, by the jackknife
    fakes: float | None = None  # had other fakes been drawn, from a fixed set, by the jackknife


def format_count(n: int) -> str:
    """n in a score's name: "10k" for 10,000, "900" for 900; exact unless a multiple of 1,000."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)


def contract_differences(a: Contract, b: Contract) -> dict[str, tuple[Any, Any]]:
    """The fields in which two contracts differ, "split" or "settings.k", and what each says there."""
    left, right = _flat(a), _flat(b)
    return {name: (left.get(name), right.get(name)) for name in left | right if left.get(name) != right.get(name)}


def first_difference(a: Contract, b: Contract) -> str | None:
    """The first field in which two contracts differ ("split", "settings.k", ...), or None where they are equal."""
    return next(iter(contract_differences(a, b)), None)


def check_comparable(scores: Mapping[str, Score]) -> None:
    """Nothing, where all scores stand under one contract; else raises Mistake, which names the field and both values.

    `scores` are told apart by their keys: the runs, or the folders, that they belong to.
    """
    first, *rest = scores
    for other in rest:
        for name, (one, two) in contract_differences(scores[first].contract, scores[other].contract).items():
            raise Mistake(
                f"the scores of {first} and {other} cannot be compared: {name} is {one} there and {two} here.\n"
                "Measure both by one protocol: saddlepoint evaluate run=... with the same evaluation.* and metrics."
            )


def _flat(contract: Contract) -> dict[str, Any]:
    plain = contract.to_dict()
    settings = {f"settings.{name}": value for name, value in plain.pop("settings").items()}
    return plain | settings
