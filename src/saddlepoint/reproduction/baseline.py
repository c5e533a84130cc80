"""A baseline: a published figure, the exact runs that have to meet it, and the tolerance.

conf/baseline/<name>.yaml, written and committed before the first of its runs. The keys of a tier replace those at the
top of the file, so that a short tier can claim only what it can show. docs/reproducing.md documents every key.
"""

from collections.abc import Sequence
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator as After
from pydantic import BeforeValidator as Before
from pydantic import Field, PrivateAttr, Strict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, metric_of
from saddlepoint.comparison.stats.equivalence import Statistic
from saddlepoint.config import config_file
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.contract import Contract
from saddlepoint.schema import FileSection, section_error, select_keys, to_mistake, with_error_message
from saddlepoint.schema import Number as AnyNumber


def _check_named(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ValueError("must map each name to its content: {<name>: ...}")
    return {str(name): content for name, content in value.items()}


def _check_unique(seeds: Sequence[int]) -> Sequence[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("lists a seed twice; a seed counts once")
    return seeds


def _check_contract(value: Any) -> dict[str, Any]:
    select_keys(value, [field.name for field in fields(Contract)])
    return value


Text = Annotated[str, Before(str), After(str.strip)]
Flag = Annotated[bool, Strict(), with_error_message("must be true or false")]
Number = Annotated[AnyNumber, with_error_message("must be a number")]
Proportion = Annotated[float, Strict(), Field(gt=0, lt=1), with_error_message("must lie between 0 and 1, e.g. 0.90")]
Direction = Annotated[
    Literal["lower", "higher"], with_error_message("must be lower or higher: which scores are better")
]
StatisticOfRuns = Annotated[Statistic, with_error_message("must be mean or median: the statistic of the runs' scores")]
Protocol = Annotated[
    Literal["published", "shortened", "own"],
    with_error_message("must be published (the paper's, at its length), shortened, or own (no paper has it)"),
]
Range = Annotated[
    tuple[AnyNumber, AnyNumber], with_error_message("must be the least and the most that the score can be")
]
Override = Annotated[str, Strict()]
Overrides = Annotated[
    tuple[Override, ...],
    with_error_message("must be a list of overrides as on the command line, [key=value, ...]"),
    Before(lambda x: x or ()),
]
Seeds = Annotated[
    tuple[Annotated[int, Strict()], ...],
    Field(min_length=1),
    with_error_message("must be a list of integers, e.g. [0, 1, 2]"),
    After(_check_unique),
]


class Citation(FileSection):
    paper: Text | None = None
    arxiv: Text | None = None
    place: Text | None = None


class Published(FileSection):
    value: Number | None = None
    spread: Number | None = None
    spread_kind: Any = None
    n: Any = None
    said: Any = None  # if the paper has no number: its words


class Tolerance(FileSection):
    least: Number | None = None
    most: Number | None = None
    why: Text  # the reason for these bounds

    @property
    def bounds(self) -> tuple[float, float]:
        return -inf if self.least is None else self.least, inf if self.most is None else self.most

    @model_validator(mode="after")
    def _check_tolerance(self) -> Self:
        if self.least is None and self.most is None:
            raise section_error("it needs a least, a most, or both")
        if self.bounds[0] > self.bounds[1]:
            raise section_error(f"tolerance.least={self.least} is above tolerance.most={self.most}")
        return self


class Contrast(FileSection):
    """Arm a minus arm b."""

    a: Text
    b: Text
    paired: Flag = False  # whether runs of one seed share everything except the settings of their arms


class Headline(FileSection):
    """One figure that has to be met: the mean or median of an arm, or the mean of arm a minus that of arm b."""

    value: Text | None = None  # the arm
    contrast: Contrast | None = None
    metric: Text  # the score's key
    contract: Annotated[dict[str, Any], Before(_check_contract)] = Field(default_factory=dict)  # required fields
    direction: Direction  # which is better
    published: Published
    allowed: Tolerance = Field(alias="tolerance")
    statistic: StatisticOfRuns = "mean"  # over the seeds
    suspicious: Number | None = None  # a figure better than this is not believed
    range: Range | None = None  # of the score: [0, 8] for a count of 8 modes
    deterministic: Flag = False  # the value is the same for every seed
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        return self._name

    @property
    def arms(self) -> tuple[str, ...]:
        """One arm, or a and b."""
        return (self.contrast.a, self.contrast.b) if self.contrast else (str(self.value),)

    @property
    def paired(self) -> bool:
        return self.contrast is not None and self.contrast.paired

    @property
    def target(self) -> float:
        """The published figure; if there is none, `least` of the tolerance, or `most` if there is no `least`."""
        known = (self.published.value, self.allowed.least, self.allowed.most)
        return next(value for value in known if value is not None)

    @property
    def tolerance(self) -> tuple[float | None, float | None]:
        """The distances allowed below and above the target; None: unbounded."""
        least, most = self.allowed.least, self.allowed.most
        return None if least is None else self.target - least, None if most is None else most - self.target

    @model_validator(mode="after")
    def _check_headline(self) -> Self:
        if (self.value is None) == (self.contrast is None):
            raise section_error("write value: <arm>, or contrast: {a: <arm>, b: <arm>}, which is a minus b")
        if self.statistic == "median" and self.contrast and not self.paired:
            raise section_error("statistic=median: the median of a contrast needs contrast.paired=true, seed by seed")
        metric = self.contract.get("metric") or metric_of(self.metric)
        known = "higher" if metric in HIGHER_IS_BETTER else "lower" if metric in LOWER_IS_BETTER else self.direction
        if self.direction != known and self.contrast is None:  # the direction of a contrast is free
            good = known.removesuffix("er")
            raise section_error(
                f"direction={self.direction}: of {metric}, {good} values are good. Write direction: {known}"
            )
        if self.range is not None and self.range[0] >= self.range[1]:
            raise section_error(
                f"range={list(self.range)} must be the least and the most that the score can be, e.g. [0, 8]"
            )
        if (value := self.published.value) is None:
            return self
        if not self.allowed.bounds[0] <= value <= self.allowed.bounds[1]:
            raise section_error(f"the published {value:g} lies outside its own tolerance")
        sign = 1 if self.direction == "lower" else -1
        if self.suspicious is not None and sign * value < sign * self.suspicious:
            raise section_error(f"the published {value:g} is itself too good: suspicious={self.suspicious:g}")
        return self


class Baseline(FileSection):
    """One tier of a baseline, with the top-level keys that it does not replace."""

    claim: Text
    source: Citation
    protocol: Protocol = "own"  # published: networks, data, length and score of the paper; shortened: fewer images
    experiment: Text | None = None
    extra_overrides: Overrides = Field((), alias="words")
    arms: Annotated[dict[str, Overrides], Before(_check_named)]  # with the overrides of each arm's runs
    seeds: Seeds
    level: Proportion = 0.90
    deterministic: Flag = False
    headline: Annotated[dict[str, Headline], Before(_check_named)]
    hours: Number  # expected, per run
    _file: tuple[str, str, Path] = PrivateAttr()

    name = property(lambda self: self._file[0])
    tier = property(lambda self: self._file[1])
    path = property(lambda self: self._file[2])

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides of every run."""
        return (*([f"experiment={self.experiment}"] if self.experiment else []), *self.extra_overrides)

    @property
    def headlines(self) -> tuple[Headline, ...]:
        return tuple(self.headline.values())

    @model_validator(mode="after")
    def _check_baseline(self) -> Self:
        for name, headline in self.headline.items():
            headline._name = name
            if unknown := [arm for arm in headline.arms if arm not in self.arms]:
                hint = did_you_mean(unknown[0], self.arms)
                raise section_error(f"headline {name}: no arm {unknown[0]}.{hint} There are: {', '.join(self.arms)}")
        return self


def load_baseline(name: str, tier: str | None = None, user_conf: Path | None = None) -> Baseline:
    """Load a tier of a baseline; None: its first. Raises Mistake if it is unknown or invalid.

    `user_conf`: a folder of your own configs, which is searched too.
    """
    path = config_file.find_conf_file("baseline", name := str(name), user_conf)  # baseline=5 is a name too
    content = config_file.load_plain_yaml(path)
    if not isinstance(content, dict):
        raise Mistake(f"{path} holds no keys; see docs/reproducing.md")
    location = f"baseline {name}"
    try:
        select_keys(content, {*Baseline.key_requirements(), "tiers"} - {"hours"})
        if not isinstance(tiers := content.pop("tiers", None), dict) or not tiers:
            raise section_error("it has no tiers: tiers: {full: {hours: 1}}")
        tiers = {str(key): {} if value is None else value for key, value in tiers.items()}
        tier = next(iter(tiers)) if tier is None else str(tier)
        if tier not in tiers:
            raise section_error(f"it has no tier {tier}.{did_you_mean(tier, tiers)} There are: {', '.join(tiers)}")
        for key in [*tiers, tier]:
            location = f"baseline {name}, tier {key}"
            select_keys(tiers[key], Baseline.key_requirements())
        baseline = Baseline.model_validate(content | tiers[tier])
    except ValidationError as error:
        raise to_mistake(error, location, sections=("headline",)) from None
    except PydanticCustomError as error:
        raise Mistake(f"{location}: {error.message()}") from None
    baseline._file = name, tier, path
    return baseline


def planned_runs(baseline: Baseline) -> Sequence[tuple[str, int]]:
    """Return every run as (arm, seed); the arm varies fastest."""
    return [(arm, seed) for seed in baseline.seeds for arm in baseline.arms]
