"""A baseline: what a paper published, exactly which runs are to meet it, and how near is near enough.

conf/baseline/<name>.yaml, written and committed before the first of its runs. What a tier says replaces what stands
above it, key by key, so that a short tier can claim only what it can. docs/reproducing.md tells every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.comparison.arms.direction import HIGHER, LOWER, metric_of
from saddlepoint.config import catalogue
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.contract import Contract

TOP = {"claim", "source", "experiment", "words", "arms", "seeds", "level", "deterministic", "headline", "tiers"}
TIER = (TOP - {"tiers"}) | {"hours"}
NEEDED = {"claim", "source", "arms", "seeds", "headline", "hours"}
HEADLINE = {"value", "contrast", "metric", "contract", "direction", "published", "tolerance", "suspicious",
            "range", "deterministic"}  # fmt: skip
PUBLISHED = {"value", "spread", "spread_kind", "n", "said"}
TOLERANCE = {"least", "most", "why"}
SOURCE = {"paper", "arxiv", "place"}
CONTRACT = {field.name for field in fields(Contract)}
DIRECTIONS = ("lower", "higher")


@dataclass(frozen=True)
class Headline:
    """One figure that has to be met: an arm's mean, or the mean of arm a minus that of arm b."""

    name: str
    arms: tuple[str, ...]  # one, or a and b
    metric: str  # the score's key
    contract: Mapping[str, Any]  # what its contract has to say, field by field
    direction: str  # which is better: lower or higher
    published: Mapping[str, Any]  # value, spread, spread_kind, n; said, where the paper gives words alone
    least: float | None
    most: float | None
    why: str  # the tolerance is what it is
    suspicious: float | None  # better than this is too good
    paired: bool = False  # of two arms: whether runs of one seed share all but what the arms differ in
    range: tuple[float, float] | None = None  # what the score can be: [0, 8] for a count of 8 modes
    deterministic: bool = False  # the value is the same for every seed

    @property
    def target(self) -> float:
        """The published figure; where there is none, the nearest that the tolerance allows."""
        if (value := self.published.get("value")) is not None:
            return float(value)
        return float(self.least if self.least is not None else self.most)  # pyright: ignore[reportArgumentType]

    @property
    def tolerance(self) -> tuple[float | None, float | None]:
        """How far below the target and how far above it; None: as far as it likes."""
        below = None if self.least is None else self.target - self.least
        return below, None if self.most is None else self.most - self.target


@dataclass(frozen=True)
class Baseline:
    """One tier of a baseline, checked."""

    name: str
    tier: str
    path: Path
    claim: str
    source: Mapping[str, str]
    words: tuple[str, ...]  # of every run
    arms: Mapping[str, tuple[str, ...]]  # and of each arm's
    seeds: tuple[int, ...]
    level: float
    deterministic: bool
    hours: float  # expected, of one run
    headlines: tuple[Headline, ...]
    raw: Mapping[str, Any] = field(default_factory=dict)  # as written, the tier's word last


def load(name: str, tier: str | None = None, own: Path | None = None) -> Baseline:
    """The baseline's tier; None: its only or its first one.  Raises Mistake where it is unknown or badly written."""
    name, tier = str(name), None if tier is None else str(tier)  # baseline=5 is a name too
    path = _path(name, own)
    try:
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise Mistake(f"{path}{line} cannot be read: {str(error).splitlines()[0]}") from None
    except UnicodeDecodeError:
        raise Mistake(f"{path} cannot be read: it is not UTF-8 text") from None
    if not isinstance(whole, dict):
        raise Mistake(f"{path} holds no keys; see docs/reproducing.md")
    where = f"baseline {name}"
    _known(whole, TOP, where)
    tiers = whole.get("tiers") or {}
    if not isinstance(tiers, dict) or not tiers:
        raise Mistake(f"{where} has no tiers: tiers: {{full: {{hours: 1}}}}")
    tiers = {str(other): said for other, said in tiers.items()}
    for other, said in tiers.items():
        _known(said or {}, TIER, f"{where}, tier {other}")
    chosen = next(iter(tiers)) if tier is None else tier
    if chosen not in tiers:
        close = did_you_mean(chosen, tiers)
        raise Mistake(f"{where} has no tier {chosen}.{close} There are: {', '.join(tiers)}")
    merged = {key: value for key, value in whole.items() if key != "tiers"} | (tiers[chosen] or {})
    return _baseline(name, chosen, path, merged)


def _path(name: str, own: Path | None) -> Path:
    there = [folder / "baseline" / f"{name}.yaml" for folder in catalogue.folders(own)]
    found = [path for path in there if path.is_file()]
    if len(found) > 1:
        raise Mistake(f"{found[1]}: baseline={name} is one of Saddlepoint's own; give yours another name")
    if not found:
        names = catalogue.members("baseline", own)
        raise Mistake(f"no such baseline: {name}.{did_you_mean(name, names)} There are: {', '.join(names)}")
    return found[0]


def _baseline(name: str, tier: str, path: Path, said: Mapping[str, Any]) -> Baseline:
    where = f"baseline {name}, tier {tier}"
    _has(said, NEEDED, where)
    _known(said["source"], SOURCE, f"{where}, source")
    arms = {str(arm): _words(words, f"{where}, arms.{arm}") for arm, words in _mapping(said, "arms", where).items()}
    experiment = said.get("experiment")
    words = ([f"experiment={experiment}"] if experiment else []) + list(_words(said.get("words"), f"{where}, words"))
    headlines = tuple(
        _headline(str(key), value or {}, arms, where) for key, value in _mapping(said, "headline", where).items()
    )
    level = said.get("level", 0.90)
    if not isinstance(level, float) or not 0 < level < 1:
        raise Mistake(f"{where}: level={level} is a share between 0 and 1, 0.90 say")
    return Baseline(
        name=name, tier=tier, path=path, claim=str(said["claim"]).strip(), source=dict(said["source"]),
        words=tuple(words), arms=arms, seeds=_seeds(said["seeds"], where), level=level,
        deterministic=_flag(said, "deterministic", where), hours=_number(said["hours"], "hours", where) or 0.0,
        headlines=headlines, raw=dict(said),
    )  # fmt: skip


def _headline(name: str, said: Mapping[str, Any], arms: Iterable[str], where: str) -> Headline:
    where = f"{where}, headline {name}"
    _known(said, HEADLINE, where)
    _has(said, {"metric", "direction", "published", "tolerance"}, where)
    of = _compared(said, where)
    for arm in of:
        if arm not in arms:
            raise Mistake(f"{where}: no arm {arm}.{did_you_mean(arm, arms)} There are: {', '.join(arms)}")
    if said["direction"] not in DIRECTIONS:
        raise Mistake(f"{where}: direction={said['direction']} says what is better: lower or higher")
    _directed(said, of, where)
    published, tolerance = said["published"] or {}, said["tolerance"] or {}
    _known(published, PUBLISHED, f"{where}, published")
    _known(tolerance, TOLERANCE, f"{where}, tolerance")
    _has(tolerance, {"why"}, f"{where}, tolerance")
    _known(said.get("contract") or {}, CONTRACT, f"{where}, contract")
    _number(published.get("spread"), "published.spread", where)
    least, most = (_number(tolerance.get(key), f"tolerance.{key}", where) for key in ("least", "most"))
    if least is None and most is None:
        raise Mistake(f"{where}: the tolerance needs a least, a most, or both")
    if least is not None and most is not None and least > most:
        raise Mistake(f"{where}: tolerance.least={least} is above tolerance.most={most}")
    value = _number(published.get("value"), "published.value", where)
    if value is not None and not (value if least is None else least) <= value <= (value if most is None else most):
        raise Mistake(f"{where}: the published {value:g} lies outside its own tolerance")
    suspicious = _number(said.get("suspicious"), "suspicious", where)
    sign = 1 if said["direction"] == "lower" else -1
    if value is not None and suspicious is not None and sign * value < sign * suspicious:
        raise Mistake(f"{where}: the published {value:g} is itself too good: suspicious={suspicious:g}")
    return Headline(
        name, of, str(said["metric"]), dict(said.get("contract") or {}), said["direction"], dict(published), least,
        most, str(tolerance["why"]).strip(), suspicious, _paired(said, where), _range(said, where),
        _flag(said, "deterministic", where),
    )  # fmt: skip


def _directed(said: Mapping[str, Any], of: Sequence[str], where: str) -> None:
    """Raises Mistake where a score's own metric says the other direction; a contrast of two arms has none."""
    metric = (said.get("contract") or {}).get("metric") or metric_of(str(said["metric"]))
    own = "higher" if metric in HIGHER else "lower" if metric in LOWER else said["direction"]
    if len(of) == 1 and said["direction"] != own:
        raise Mistake(
            f"{where}: direction={said['direction']}: of {metric}, {'high' if own == 'higher' else 'low'} values are "
            f"good. Write direction: {own}"
        )


def _compared(said: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The arm, or the two arms."""
    contrast = said.get("contrast")
    if (said.get("value") is None) == (contrast is None):
        raise Mistake(f"{where}: say value: <arm>, or contrast: {{a: <arm>, b: <arm>}}, which is a minus b")
    if contrast is None:
        return (str(said["value"]),)
    _known(contrast, {"a", "b", "paired"}, f"{where}, contrast")
    _has(contrast, {"a", "b"}, f"{where}, contrast")
    return str(contrast["a"]), str(contrast["b"])


def _paired(said: Mapping[str, Any], where: str) -> bool:
    return _flag(said.get("contrast") or {}, "paired", where, "contrast.")


def _flag(said: Mapping[str, Any], key: str, where: str, above: str = "") -> bool:
    value = said.get(key, False)
    if not isinstance(value, bool):
        raise Mistake(f"{where}: {above}{key}={value} is true or false")
    return value


def _range(said: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    """What the score can be, from its least to its most; None where nothing is said."""
    if (ends := said.get("range")) is None:
        return None
    if not isinstance(ends, list) or len(ends) != 2:
        raise Mistake(f"{where}: range={ends} is the least and the most that the score can be, [0, 8] say")
    low, high = (_number(end, "range", where) for end in ends)
    if low is None or high is None or low >= high:
        raise Mistake(f"{where}: range={ends} is the least and the most that the score can be, [0, 8] say")
    return low, high


def _seeds(said: Any, where: str) -> tuple[int, ...]:
    if not isinstance(said, list) or not said or not all(type(seed) is int for seed in said):
        raise Mistake(f"{where}: seeds={said} is a list of whole numbers, [0, 1, 2] say")
    if len(set(said)) < len(said):
        raise Mistake(f"{where}: seeds={said} has one twice; a seed counts once")
    return tuple(said)


def _words(said: Any, where: str) -> tuple[str, ...]:
    if said is not None and (not isinstance(said, list) or not all(isinstance(word, str) for word in said)):
        raise Mistake(f"{where}: a list of words as on the command line, [key=value, ...]")
    return tuple(said or ())


def _mapping(said: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    if not isinstance(said[key], dict) or not said[key]:
        raise Mistake(f"{where}: {key} is a name for each, and what it says: {key}: {{<name>: ...}}")
    return said[key]


def _number(said: Any, key: str, where: str) -> float | None:
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not isfinite(said):
        raise Mistake(f"{where}: {key}={said} is no number")
    return float(said)


def _known(said: Any, keys: set[str], where: str) -> None:
    if not isinstance(said, dict):
        raise Mistake(f"{where}: keys and values are expected, not {said!r}; see docs/reproducing.md")
    for key in said:
        if key not in keys:
            close = did_you_mean(str(key), sorted(keys))
            raise Mistake(f"{where}: no such key: {key}.{close} There are: {', '.join(sorted(keys))}")


def _has(said: Mapping[str, Any], keys: set[str], where: str) -> None:
    if missing := sorted(key for key in keys if said.get(key) is None):
        raise Mistake(f"{where}: {', '.join(missing)} missing")


def planned(baseline: Baseline) -> Sequence[tuple[str, int]]:
    """Every run, as (arm, seed), seeds slowest."""
    return [(arm, seed) for seed in baseline.seeds for arm in baseline.arms]
