"""A sweep file, conf/sweep/<name>.yaml (docs/sweeping.md), read and checked before any trial."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from saddlepoint.config import allow_list, config_file
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.resume import NEUTRAL_DATA_KEYS, NEUTRAL_KEYS
from saddlepoint.multirun.factor import format_level, level_name
from saddlepoint.schema import Flag, Natural, Number, validate_value
from saddlepoint.sweep.method import parse_method
from saddlepoint.sweep.plan import Plan, parse_metric
from saddlepoint.sweep.space import Choice, Dimension, Range

KEYS = ("space", "words", "metric", "direction", "sampler", "pruner", "seeds", "trials")
RANGE = {"low", "high", "log", "step"}
NOT_SEARCHED = {  # keys whose value no search may choose, and why
    "seed": "a lucky seed is no setting; seeds: [0, 1] averages over some",
    **dict.fromkeys(("evaluation", "metric", "protocol"), "how a score is measured is the same for every trial"),
    **dict.fromkeys(("name", "outputs", "overwrite", "many", "resume"), "whose run it is decides nothing"),
    **dict.fromkeys(("logger", "launcher", "cache"), "who watches a run, and where, decides nothing"),
    allow_list.KEY: "that is for a person to say, on the command line",
}


def load_plan(config: DictConfig, overrides: Sequence[str] = (), config_dir: Path | None = None) -> Plan:
    """The search of a sweep file, with the command line's last word.  Raises Mistake for what cannot be meant."""
    name = str(config.sweep)
    path = config_file.find_conf_file("sweep", name, config_dir)
    said, where = config_file.load_plain_yaml(path), f"sweep {name}"
    if not isinstance(said, dict):
        raise Mistake(f"{path}: a sweep is a file of key: value lines, space: and metric: at least")
    for key in map(str, said):
        if key not in KEYS:
            raise Mistake(f"{path}: no such key: {key}.{did_you_mean(key, KEYS)} There are: {', '.join(KEYS)}")
    asked: Any = OmegaConf.to_container(config)
    for key in ("trials", "seeds", "sampler", "pruner"):
        if asked[key] is not None:
            said[key] = asked[key]
    if not said.get("metric"):
        raise Mistake(f"{path}: by which score? metric: fid, or another one of the validation split")
    dimensions = parse_space(said.get("space"), where)
    own_words = said.get("words") or []
    if not isinstance(own_words, list) or not all(isinstance(word, str) for word in own_words):
        raise Mistake(f"{where}: words: a list as on the command line, [experiment=..., images=20_000]")
    own_words = allow_list.overrides_from_file(_heard(own_words, dimensions, f"{where}: words: "), where)
    words = [*own_words, *_heard(map(str, overrides), dimensions)]
    elsewhere = [word for word in words if _is_elsewhere(word)]
    sampler = parse_method("sampler", said.get("sampler", "tpe"))
    assert sampler is not None
    return Plan(
        name=_named(asked["name"] or name.replace("/", "-")), space=dimensions,
        metric=parse_metric(str(said["metric"]), said.get("direction")), sampler=sampler,
        pruner=parse_method("pruner", said.get("pruner")), seeds=_seeds(said.get("seeds", [0])), max_trials=said.get("trials"),
        overrides=tuple(word for word in words if word not in elsewhere), machine_overrides=tuple(elsewhere),
    )  # fmt: skip


def parse_space(said: Any, where: str = "sweep") -> tuple[Dimension, ...]:
    """The dimensions of a `space`.  Raises Mistake for one that is badly written, or not to be searched."""
    if not isinstance(said, Mapping) or not said:
        raise Mistake(f"{where}: space: {{key: {{low: 1.0e-5, high: 1.0e-2, log: true}}, key: {{choices: [a, b]}}}}")
    found = []
    for key, one in said.items():
        if reason := NOT_SEARCHED.get(_first(str(key))):
            raise Mistake(f"space.{key}: {reason}")
        found.append(_dimension(str(key), one))
    return tuple(found)


def _first(word: str) -> str:
    """The first part of the key that a word of the command line names."""
    return word.lstrip("+~").partition("=")[0].partition(".")[0].partition("@")[0]


def _dimension(key: str, said: Any) -> Dimension:
    where = f"space.{key}"
    if isinstance(said, Mapping) and set(said) == {"choices"}:
        choices = said["choices"]
        if not isinstance(choices, list) or not choices:
            raise Mistake(f"{where}: choices: [a, b, ...]")
        labels = [format_level(choice) for choice in choices]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise Mistake(f"{where}: {twice[0]} stands twice among its choices")
        return Choice(key, {label: (f"{key}={label}",) for label in labels})
    if isinstance(said, Mapping) and {"low", "high"} & set(said):
        return _range(key, said, where)
    if isinstance(said, Mapping) and said and all(isinstance(words, list) for words in said.values()):
        levels = {
            level_name(level): tuple(allow_list.overrides_from_file(words, where)) for level, words in said.items()
        }
        for word in (word for words in levels.values() for word in words):
            if reason := NOT_SEARCHED.get(_first(word)):
                raise Mistake(f"{where}: {word}: {reason}")
        return Choice(key, levels, has_bundles=True)
    raise Mistake(f"{where}: {{low, high, log, step}}, {{choices: [...]}}, or names of words: {{level: [words]}}")


def _range(key: str, said: Mapping[Any, Any], where: str) -> Range:
    if unknown := [str(name) for name in said if name not in RANGE]:
        close = did_you_mean(unknown[0], RANGE)
        raise Mistake(f"{where}: no such key: {unknown[0]}.{close} A range has low, high, log, step")
    low, high, step, log = (said.get(name) for name in ("low", "high", "step", "log"))
    if low is None or high is None:
        raise Mistake(f"{where}: no {'low' if low is None else 'high'}: a range is {{low: 1, high: 9}}, both included")
    for name, value in (("low", low), ("high", high), *((("step", step),) if step is not None else ())):
        validate_value(Number, value, f"{where}.{name}")
    log = validate_value(Flag | None, log, f"{where}.log")
    if low > high:
        raise Mistake(f"{where}: low {low} is above high {high}")
    if log and low <= 0:
        raise Mistake(f"{where}: log needs low above 0, not {low}")
    if step is not None and step <= 0:
        raise Mistake(f"{where}: step {step}: it is above 0")
    if log and step is not None:
        raise Mistake(f"{where}: log and step exclude each other; list the values, choices: [...]")
    return Range(key, low, high, bool(log), step)


def _heard(words: Iterable[str], dimensions: Sequence[Dimension], where: str = "") -> list[str]:
    """The words as they are.  Raises Mistake for one that no trial would hear."""
    searched = {one.key.removeprefix("++") for one in dimensions}  # a +group adds to what a word says
    found = list(words)
    for word in found:
        key = word.lstrip("+~").partition("=")[0]
        if key in ("seed", "name", "outputs"):
            raise Mistake(f"{where}{word}: seeds=[0, 1] says the seeds, and each trial has a folder of its own")
        if key in searched:
            raise Mistake(
                f"{where}{word}: {key} is searched, and each trial has its own; take it out of space, or this away"
            )
    return found


def _is_elsewhere(word: str) -> bool:
    """Whether a word says where a trial runs, and nothing of what it is."""
    first, _, last = word.lstrip("+~").partition("=")[0].partition(".")
    return first in NEUTRAL_KEYS or (first == "data" and last in NEUTRAL_DATA_KEYS)


def _seeds(said: Any) -> tuple[int, ...]:
    said = validate_value(Annotated[list[Natural], Field(min_length=1)], said, "seeds")
    if len(set(said)) < len(said):
        raise Mistake(f"seeds={said} has one twice; a seed counts once")
    return tuple(said)


def _named(name: str) -> str:
    if not name or not all(sign.isalnum() or sign in "._-" for sign in name) or name[0] in ".-":
        raise Mistake(f"name={name}: a name has letters, digits, . _ and - only, no . or - in front")
    return name
