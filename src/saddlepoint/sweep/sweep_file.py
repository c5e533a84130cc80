"""A sweep file, conf/sweep/<name>.yaml (docs/sweeping.md), validated before any trial starts."""

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
RANGE_KEYS = {"low", "high", "log", "step"}
NOT_SEARCHABLE = {  # key -> why a search cannot choose its value
    "seed": "a lucky seed is not a setting; seeds: [0, 1] averages over several",
    **dict.fromkeys(("evaluation", "metric", "protocol"), "a score must be measured in the same way for every trial"),
    **dict.fromkeys(("name", "outputs", "overwrite", "many", "resume"), "it does not affect the score"),
    **dict.fromkeys(("logger", "launcher", "cache"), "it does not affect the score"),
    allow_list.KEY: "only a person can set it, on the command line",
}


def load_plan(config: DictConfig, overrides: Sequence[str] = (), config_dir: Path | None = None) -> Plan:
    """Return the search of a sweep file; the command line takes precedence.  Raises Mistake for an invalid search."""
    name = str(config.sweep)
    path = config_file.find_conf_file("sweep", name, config_dir)
    content, location = config_file.load_plain_yaml(path), f"sweep {name}"
    if not isinstance(content, dict):
        raise Mistake(f"{path}: a sweep is a file of key: value lines, at least space: and metric:")
    for key in map(str, content):
        if key not in KEYS:
            raise Mistake(f"{path}: no such key: {key}.{did_you_mean(key, KEYS)} There are: {', '.join(KEYS)}")
    requested: Any = OmegaConf.to_container(config)
    for key in ("trials", "seeds", "sampler", "pruner"):
        if requested[key] is not None:
            content[key] = requested[key]
    if not content.get("metric"):
        raise Mistake(f"{path}: by which score? metric: fid, or another metric of the validation split")
    space = parse_space(content.get("space"), location)
    file_overrides = content.get("words") or []
    if not isinstance(file_overrides, list) or not all(isinstance(override, str) for override in file_overrides):
        raise Mistake(f"{location}: words must be a list of overrides, [experiment=..., images=20_000]")
    file_overrides = _check_overrides(file_overrides, space, f"{location}: words: ")
    file_overrides = allow_list.check_file_overrides(file_overrides, location)
    all_overrides = [*file_overrides, *_check_overrides(map(str, overrides), space)]
    machine_overrides = [override for override in all_overrides if _is_machine_override(override)]
    sampler = parse_method("sampler", content.get("sampler", "tpe"))
    assert sampler is not None
    return Plan(
        name=_check_name(requested["name"] or name.replace("/", "-")), space=space,
        metric=parse_metric(str(content["metric"]), content.get("direction")), sampler=sampler,
        pruner=parse_method("pruner", content.get("pruner")), seeds=_parse_seeds(content.get("seeds", [0])),
        max_trials=content.get("trials"), machine_overrides=tuple(machine_overrides),
        overrides=tuple(override for override in all_overrides if override not in machine_overrides),
    )  # fmt: skip


def parse_space(nodes: Any, location: str = "sweep") -> tuple[Dimension, ...]:
    """Return the dimensions of a sweep file's `space`.  Raises Mistake for an invalid or unsearchable one."""
    if not isinstance(nodes, Mapping) or not nodes:
        raise Mistake(f"{location}: space: {{key: {{low: 1.0e-5, high: 1.0e-2, log: true}}, key: {{choices: [a, b]}}}}")
    dimensions = []
    for key, node in nodes.items():
        if reason := NOT_SEARCHABLE.get(_top_level_key(str(key))):
            raise Mistake(f"space.{key}: {reason}")
        dimensions.append(_parse_dimension(str(key), node))
    return tuple(dimensions)


def _top_level_key(override: str) -> str:
    """Return the first part of the key of an override."""
    return override.lstrip("+~").partition("=")[0].partition(".")[0].partition("@")[0]


def _parse_dimension(key: str, node: Any) -> Dimension:
    location = f"space.{key}"
    if isinstance(node, Mapping) and set(node) == {"choices"}:
        choices = node["choices"]
        if not isinstance(choices, list) or not choices:
            raise Mistake(f"{location}: choices: [a, b, ...]")
        labels = [format_level(choice) for choice in choices]
        if duplicates := [label for label in labels if labels.count(label) > 1]:
            raise Mistake(f"{location}: {duplicates[0]} is twice among its choices")
        return Choice(key, {label: (f"{key}={label}",) for label in labels})
    if isinstance(node, Mapping) and {"low", "high"} & set(node):
        return _parse_range(key, node, location)
    if isinstance(node, Mapping) and node and all(isinstance(overrides, list) for overrides in node.values()):
        levels = {level_name(level): tuple(allow_list.check_file_overrides(overrides, location))
                  for level, overrides in node.items()}  # fmt: skip
        for override in (override for overrides in levels.values() for override in overrides):
            if reason := NOT_SEARCHABLE.get(_top_level_key(override)):
                raise Mistake(f"{location}: {override}: {reason}")
        return Choice(key, levels, has_bundles=True)
    raise Mistake(
        f"{location}: {{low, high, log, step}}, {{choices: [...]}}, or named overrides: {{name: [overrides]}}"
    )


def _parse_range(key: str, node: Mapping[Any, Any], location: str) -> Range:
    if unknown := [str(name) for name in node if name not in RANGE_KEYS]:
        hint = did_you_mean(unknown[0], RANGE_KEYS)
        raise Mistake(f"{location}: no such key: {unknown[0]}.{hint} A range has low, high, log, step")
    low, high, step, log = (node.get(name) for name in ("low", "high", "step", "log"))
    if low is None or high is None:
        missing = "low" if low is None else "high"
        raise Mistake(f"{location}: no {missing}: a range is {{low: 1, high: 9}}, both included")
    for name, value in (("low", low), ("high", high), *((("step", step),) if step is not None else ())):
        validate_value(Number, value, f"{location}.{name}")
    log = validate_value(Flag | None, log, f"{location}.log")
    if low > high:
        raise Mistake(f"{location}: low {low} is above high {high}")
    if log and low <= 0:
        raise Mistake(f"{location}: log needs low above 0, not {low}")
    if step is not None and step <= 0:
        raise Mistake(f"{location}: step {step} must be above 0")
    if log and step is not None:
        raise Mistake(f"{location}: log and step exclude each other; list the values, choices: [...]")
    return Range(key, low, high, bool(log), step)


def _check_overrides(overrides: Iterable[str], space: Sequence[Dimension], location: str = "") -> list[str]:
    """Return the overrides as a list.  Raises Mistake for one that would have no effect on a trial."""
    searched = {
        dimension.key.removeprefix("++") for dimension in space
    }  # a searched +group adds to an override's value
    overrides = list(overrides)
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in ("seed", "name", "outputs"):
            raise Mistake(f"{location}{override}: use seeds=[0, 1] for seeds; each trial has its own folder")
        if key in searched:
            raise Mistake(
                f"{location}{override}: {key} is searched, so each trial has its own value; remove it from space, or "
                "remove this override"
            )
    return overrides


def _is_machine_override(override: str) -> bool:
    """Whether an override sets where a trial runs, and does not affect its result."""
    first, _, last = override.lstrip("+~").partition("=")[0].partition(".")
    return first in NEUTRAL_KEYS or (first == "data" and last in NEUTRAL_DATA_KEYS)


def _parse_seeds(value: Any) -> tuple[int, ...]:
    seeds = validate_value(Annotated[list[Natural], Field(min_length=1)], value, "seeds")
    if len(set(seeds)) < len(seeds):
        raise Mistake(f"seeds={seeds} has a duplicate; each seed counts once")
    return tuple(seeds)


def _check_name(name: str) -> str:
    if not name or not all(character.isalnum() or character in "._-" for character in name) or name[0] in ".-":
        raise Mistake(f"name={name} must have only letters, digits, . _ and -, and must not start with . or -")
    return name
