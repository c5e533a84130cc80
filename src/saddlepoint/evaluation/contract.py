"""The contract of a score: everything about how it was measured.  Only scores with equal contracts are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from saddlepoint.error import Mistake

# version of the arithmetic of the metrics: raised if any score would change, so that old and new scores are not
# compared. The package's version also changes for other reasons
VERSION = "1"


@dataclass(frozen=True)
class Contract:
    """The protocol of one score.  Two scores are comparable only if all fields are equal."""

    metric: str  # "fid", "inception_score", "coverage", ...
    n_real: int | None  # None if reference statistics from a file do not include it
    n_fake: int
    split: str  # of the reals: "train", "validation", "test", "all"
    data: str  # sha256 of that split's content
    resolution: str  # "1x28x28" (C x H x W), or "2" for points
    resizer: str  # how images are resized for the extractor; "none"
    extractor: str  # "inception", "digits", "identity", ...
    extractor_sha256: str
    weights: str  # of the generator: "averaged", "raw"; "none" if no generator is measured
    seed: int  # of the evaluation: chooses reals if not all are used
    library: str = "saddlepoint"
    version: str = VERSION
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the metric: k, splits, N, M, ...
    # the generator's batch-norm statistics: "running"; "reestimated", for averaged weights; "batch of <size>" is added
    # if samples depend on the other samples of their batch in another way
    batch_norm: str = "running"
    dropout: bool = False  # whether the generator keeps dropout on, as pix2pix does
    inputs: str = ""  # the split whose rows the generator's inputs are, such as images to translate; "": no such inputs
    altered: str = ""  # settings that differ from those of the generator's training, "prior.z.high: 1 -> 0.5; ..."

    @classmethod
    def for_samples(cls, metric: str, reals: Any, shape: Sequence[int], **rest: Any) -> Contract:
        """Contract of samples of `shape`, the shape that networks receive, against reals with a name and a sha256."""
        return cls(metric, split=reals.name, data=reals.sha256, resolution="x".join(map(str, shape)), **rest)

    @classmethod
    def for_players(
        cls, metric: str, players: str, split: Any, n: int, weights: str, settings: Mapping[str, Any]
    ) -> Contract:
        """Contract of a score of players, without reals or samples; n is the number of examined inputs."""
        fields = {"extractor": players, "extractor_sha256": "none", "resizer": "none", "weights": weights}
        return cls.for_samples(metric, split, split.shape, n_real=None, n_fake=n, seed=0, settings=settings, **fields)

    @property
    def score_name(self) -> str:
        """The score's name, "<metric>[_<extractor>]_<n fake>_<split>"; Inception is left out of it."""
        extractor = [] if self.extractor == "inception" else [self.extractor]
        return "_".join([self.metric, *extractor, format_count(self.n_fake), self.split])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = asdict(self) | {"settings": dict(self.settings)}
        for name in ("dropout", "inputs"):  # added later, and stored contracts do not have them
            if not plain[name]:
                del plain[name]
        return plain


@dataclass(frozen=True)
class Score:
    """A value and its contract."""

    value: float
    contract: Contract
    std: float | None = None  # over the parts of an Inception score, for example; not over seeds or runs
    detail: Mapping[str, Any] = field(default_factory=dict)  # plain values: results per class, a null distribution

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = {"value": self.value, "std": self.std, "contract": self.contract.to_dict()}
        return {**plain, "detail": dict(self.detail)} if self.detail else plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Score:
        """Return the score that `to_dict` wrote.  Raises TypeError if contract fields are missing or unknown."""
        return cls(plain["value"], Contract(**plain["contract"]), plain["std"], plain.get("detail", {}))


class Uncertainty(NamedTuple):
    """Standard errors of one score; None if not measured."""

    generations: float | None = None  # standard deviation over new sets of samples from the generator
    mean: float | None = None  # mean over those sets
    reals: float | None = None  # due to the choice of reals, by the jackknife
    fakes: float | None = None  # due to the choice of fakes, for a fixed set, by the jackknife


def format_count(n: int) -> str:
    """Format n for a score's name: "10k" for 10,000, "900" for 900; exact unless it is a multiple of 1,000."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)


def contract_differences(a: Contract, b: Contract) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two contracts differ, such as "split" or "settings.k", with both values."""
    left, right = _flatten(a), _flatten(b)
    return {name: (left.get(name), right.get(name)) for name in left | right if left.get(name) != right.get(name)}


def first_differing_field(a: Contract, b: Contract) -> str | None:
    """Return the first field in which two contracts differ, such as "settings.k"; None if they are equal."""
    return next(iter(contract_differences(a, b)), None)


def check_comparable(scores: Mapping[str, Score]) -> None:
    """Raise Mistake if the scores have different contracts; the message names the field and both values.

    The keys of `scores` are the runs, or the folders, that they belong to.
    """
    first, *rest = scores
    for other in rest:
        for name, (one, two) in contract_differences(scores[first].contract, scores[other].contract).items():
            raise Mistake(
                f"the scores of {first} and {other} cannot be compared: {name} is {one} and {two} respectively.\n"
                "Measure both by one protocol: saddlepoint evaluate run=... with the same evaluation.* and metrics."
            )


def _flatten(contract: Contract) -> dict[str, Any]:
    plain = contract.to_dict()
    settings = {f"settings.{name}": value for name, value in plain.pop("settings").items()}
    return plain | settings
