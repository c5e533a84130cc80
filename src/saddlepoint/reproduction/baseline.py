"""A baseline: what a paper published, exactly which runs are to meet it, and how near is near enough.

conf/baseline/<name>.yaml, written and committed before the first of its runs. What a tier says replaces what stands
above it, key by key, so that a short tier can claim only what it can. docs/reproducing.md tells every key.
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
from saddlepoint.config import config_file
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.contract import Contract
from saddlepoint.schema import FileSection, replace_error, section_error, select_keys, to_mistake
from saddlepoint.schema import Number as AnyNumber


def _by_name(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict) or not said:
        raise ValueError("is a name for each, and what it says: {<name>: ...}")
    return {str(name): own for name, own in said.items()}


def _once(seeds: Sequence[int]) -> Sequence[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("has one twice; a seed counts once")
    return seeds


def _of_contract(said: Any) -> dict[str, Any]:
    select_keys(said, [field.name for field in fields(Contract)])
    return said


Text = Annotated[str, Before(str), After(str.strip)]
Flag = Annotated[bool, Strict(), replace_error("is true or false")]
Number = Annotated[AnyNumber, replace_error("is no number")]
Share = Annotated[float, Strict(), Field(gt=0, lt=1), replace_error("is a share between 0 and 1, 0.90 say")]
Direction = Annotated[Literal["lower", "higher"], replace_error("says what is better: lower or higher")]
Ends = Annotated[tuple[AnyNumber, AnyNumber], replace_error("is the least and the most that the score can be")]
Word = Annotated[str, Strict()]
Words = Annotated[
    tuple[Word, ...],
    replace_error("is a list of words as on the command line, [key=value, ...]"),
    Before(lambda x: x or ()),
]
Seeds = Annotated[
    tuple[Annotated[int, Strict()], ...],
    Field(min_length=1),
    replace_error("is a list of whole numbers, [0, 1, 2] say"),
    After(_once),
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
    said: Any = None  # where the paper gives words alone


class Tolerance(FileSection):
    least: Number | None = None
    most: Number | None = None
    why: Text  # the tolerance is what it is

    @property
    def bounds(self) -> tuple[float, float]:
        return -inf if self.least is None else self.least, inf if self.most is None else self.most

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.least is None and self.most is None:
            raise section_error("it needs a least, a most, or both")
        if self.bounds[0] > self.bounds[1]:
            raise section_error(f"tolerance.least={self.least} is above tolerance.most={self.most}")
        return self


class Contrast(FileSection):
    a: Text
    b: Text
    paired: Flag = False  # whether runs of one seed share all but what the arms differ in


class Headline(FileSection):
    """One figure that has to be met: an arm's mean, or the mean of arm a minus that of arm b."""

    value: Text | None = None  # the arm
    contrast: Contrast | None = None
    metric: Text  # the score's key
    contract: Annotated[dict[str, Any], Before(_of_contract)] = Field(default_factory=dict)  # what it has to say
    direction: Direction  # which is better
    published: Published
    allowed: Tolerance = Field(alias="tolerance")
    suspicious: Number | None = None  # better than this is too good
    range: Ends | None = None  # what the score can be: [0, 8] for a count of 8 modes
    deterministic: Flag = False  # the value is the same for every seed
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        return self._name

    @property
    def arms(self) -> tuple[str, ...]:
        """One, or a and b."""
        return (self.contrast.a, self.contrast.b) if self.contrast else (str(self.value),)

    @property
    def paired(self) -> bool:
        return self.contrast is not None and self.contrast.paired

    @property
    def target(self) -> float:
        """The published figure; where there is none, the nearest that the tolerance allows."""
        known = (self.published.value, self.allowed.least, self.allowed.most)
        return next(value for value in known if value is not None)

    @property
    def tolerance(self) -> tuple[float | None, float | None]:
        """How far below the target and how far above it; None: as far as it likes."""
        least, most = self.allowed.least, self.allowed.most
        return None if least is None else self.target - least, None if most is None else most - self.target

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.value is None) == (self.contrast is None):
            raise section_error("say value: <arm>, or contrast: {a: <arm>, b: <arm>}, which is a minus b")
        metric = self.contract.get("metric") or metric_of(self.metric)
        own = "higher" if metric in HIGHER_IS_BETTER else "lower" if metric in LOWER_IS_BETTER else self.direction
        if self.direction != own and self.contrast is None:  # a contrast of two arms has a direction of its own
            good = own.removesuffix("er")
            raise section_error(
                f"direction={self.direction}: of {metric}, {good} values are good. Write direction: {own}"
            )
        if self.range is not None and self.range[0] >= self.range[1]:
            raise section_error(f"range={list(self.range)} is the least and the most that the score can be, [0, 8] say")
        if (value := self.published.value) is None:
            return self
        if not self.allowed.bounds[0] <= value <= self.allowed.bounds[1]:
            raise section_error(f"the published {value:g} lies outside its own tolerance")
        sign = 1 if self.direction == "lower" else -1
        if self.suspicious is not None and sign * value < sign * self.suspicious:
            raise section_error(f"the published {value:g} is itself too good: suspicious={self.suspicious:g}")
        return self


class Baseline(FileSection):
    """One tier of a baseline: what it says, and what stands above it."""

    claim: Text
    source: Citation
    experiment: Text | None = None
    extra_overrides: Words = Field((), alias="words")
    arms: Annotated[dict[str, Words], Before(_by_name)]  # and the words of each arm's runs
    seeds: Seeds
    level: Share = 0.90
    deterministic: Flag = False
    headline: Annotated[dict[str, Headline], Before(_by_name)]
    hours: Number  # expected, of one run
    _file: tuple[str, str, Path] = PrivateAttr()

    name = property(lambda self: self._file[0])
    tier = property(lambda self: self._file[1])
    path = property(lambda self: self._file[2])

    @property
    def overrides(self) -> tuple[str, ...]:
        """Of every run."""
        return (*([f"experiment={self.experiment}"] if self.experiment else []), *self.extra_overrides)

    @property
    def headlines(self) -> tuple[Headline, ...]:
        return tuple(self.headline.values())

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name, headline in self.headline.items():
            headline._name = name
            if unknown := [arm for arm in headline.arms if arm not in self.arms]:
                close = did_you_mean(unknown[0], self.arms)
                raise section_error(f"headline {name}: no arm {unknown[0]}.{close} There are: {', '.join(self.arms)}")
        return self


def load_baseline(name: str, tier: str | None = None, own: Path | None = None) -> Baseline:
    """The baseline's tier; None: its only or its first one.  Raises Mistake where it is unknown or badly written."""
    path = config_file.find_conf_file("baseline", name := str(name), own)  # baseline=5 is a name too
    whole = config_file.load_plain_yaml(path)
    if not isinstance(whole, dict):
        raise Mistake(f"{path} holds no keys; see docs/reproducing.md")
    where = f"baseline {name}"
    try:
        select_keys(whole, {*Baseline.key_requirements(), "tiers"} - {"hours"})
        if not isinstance(tiers := whole.pop("tiers", None), dict) or not tiers:
            raise section_error("it has no tiers: tiers: {full: {hours: 1}}")
        tiers = {str(other): {} if said is None else said for other, said in tiers.items()}
        chosen = next(iter(tiers)) if tier is None else str(tier)
        if chosen not in tiers:
            raise section_error(f"it has no tier {chosen}.{did_you_mean(chosen, tiers)} There are: {', '.join(tiers)}")
        for other in [*tiers, chosen]:
            where = f"baseline {name}, tier {other}"
            select_keys(tiers[other], Baseline.key_requirements())
        found = Baseline.model_validate(whole | tiers[chosen])
    except ValidationError as error:
        raise to_mistake(error, where, within=("headline",)) from None
    except PydanticCustomError as error:
        raise Mistake(f"{where}: {error.message()}") from None
    found._file = name, chosen, path
    return found


def planned_runs(baseline: Baseline) -> Sequence[tuple[str, int]]:
    """Every run, as (arm, seed), seeds slowest."""
    return [(arm, seed) for seed in baseline.seeds for arm in baseline.arms]
