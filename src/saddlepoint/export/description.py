"""The description of a generator's file: a small yaml next to it, ours (config.yaml) or an external one.

architecture:                # how to build it; not for TorchScript, torch.export and ONNX, which contain the network
  generator: {_target_: saddlepoint.architecture.mlp.Generator, latent: 100, shape: [1, 8, 8]}
prior:                       # the parts of the latent, in order; {} for no latent
  z: {distribution: normal, dim: 100}       # or uniform (low, high), categorical; shape: [100, 1, 1] for [N, 100, 1, 1]
data: {shape: [1, 8, 8]}     # of one sample: [C, H, W], or [D] of points
classes: {label: 10}         # the class conditions, and their numbers of classes; null for none; 10 is {label: 10}
inputs:                      # all other conditions, in order; dtype is float32 by default
  source: {shape: [3, 64, 64], dtype: float32}
conditions: labels           # their source: labels, uniformly random classes; or split:validation, the rows of a split
range: [-1, 1]               # of its pixels; [0, 1], or uint8; null for points and other unbounded samples
modality: null               # a modality that the shape does not imply; [C, H, W] implies images, [D] points
call: mapping                # network({part: tensor}, {condition: tensor}); parts: network(tensor, ..., tensor)
weights: averaged            # or raw
batch_norm: running          # or reestimated: its statistics were estimated again for the averaged weights
licence: null                # and `source`: one line each, which are recorded

If samples are not made by one network from the latent, these keys define how, as in a config (`game`):

architecture: {generator: {...}}, makers: {paste: {...}}    # every network and maker that samples pass through
sides: {fake: {by: [generator, paste], condition: {mask: hole.mask}}}, samples: fake, draws: {hole: {mask: {...}}}
images: 20000                # images shown in training, for modules that depend on it
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from saddlepoint import modality
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.side import LATENT, Side, check_sides, parse_sides

NAMES = ("generator.yaml", "config.yaml")  # next to a generator's file, tried in this order
REQUIRED_KEYS = ("prior", "data", "range")
GAME_KEYS = ("sides", "samples", "makers", "draws")
KEYS = (
    *REQUIRED_KEYS, *GAME_KEYS, "architecture", "classes", "inputs", "conditions", "call", "weights", "batch_norm",
    "images", "modality", "licence", "source", "seed",
)  # fmt: skip
DISTRIBUTIONS = ("normal", "uniform", "categorical")
RANGES: Mapping[Any, tuple[float, float] | None] = {
    (-1.0, 1.0): (-1.0, 1.0), (0.0, 1.0): (0.0, 1.0), "uint8": (0.0, 255.0), None: None,
}  # fmt: skip
CALLS = ("mapping", "parts")
WEIGHTS = ("averaged", "raw")
PARTLY_AVERAGED = "partly averaged"  # some of the players that make samples have an average
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")
LABEL, GENERATOR = "label", "generator"  # the class condition, which is column y; the only network
DEFAULT_CONDITIONS = "labels"
DEFAULT_SAMPLES = "fake"
BATCH_NORM = ("running", "reestimated")


@dataclass(frozen=True)
class Input:
    """A condition that is not a class: the shape and the type of a row."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Description:
    """A generator's description, validated."""

    prior: Mapping[str, Mapping[str, Any]]  # part -> a node with `_target_` and its arguments
    shape: tuple[int, ...]  # of one sample
    bounds: tuple[float, float] | None  # of its values; None: unbounded
    call: str
    sides: Mapping[str, Side]
    samples: str = DEFAULT_SAMPLES
    architecture: Mapping[str, Mapping[str, Any]] | None = None  # by player
    makers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    draws: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)  # as `prior`, by name
    classes: Mapping[str, int] = field(default_factory=dict)  # by condition
    inputs: Mapping[str, Input] = field(default_factory=dict)  # by condition
    conditions: str = DEFAULT_CONDITIONS
    views: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # shapes of parts, if not flat
    weights: str | None = None  # None: unknown
    licence: str | None = None
    source: str | None = None
    batch_norm: str = "running"
    images: int = 0
    condition_is_tensor: bool = False  # `classes: 10`, as in the first edition: the network takes the class itself


def find_description_file(file: Path) -> Path:
    """Return the path of the description next to a generator's file.  Raises Mistake if there is none."""
    for name in NAMES:
        if (path := file.parent / name).exists():
            return path
    raise Mistake(
        f"{file}: no description of this generator. Put a generator.yaml next to it, with prior, data.shape and "
        "range (docs/exporting.md), or name one: description=<file.yaml>"
    )


def parse_description(plain: Mapping[str, Any], path: Path) -> Description:
    """Validate the content of the yaml at `path`.  Raises Mistake for a missing, unknown or invalid key."""
    for key in map(str, plain):
        if key not in KEYS:
            raise Mistake(f"{path}: unknown key {key}.{did_you_mean(key, KEYS)}")
    for key in REQUIRED_KEYS:
        if key not in plain:
            raise Mistake(f"{path} lacks {key}: it needs {', '.join(REQUIRED_KEYS)}, as in docs/exporting.md")
    shape = _parse_sizes((plain["data"] or {}).get("shape") if isinstance(plain["data"], dict) else None)
    if not shape:
        raise Mistake(f"{path} lacks data.shape: [channels, height, width] of one sample, or [numbers] of a point")
    architecture = _parse_networks(path, "architecture", plain.get("architecture"))
    call = plain.get("call") or ("mapping" if architecture else "parts")
    _check_value(path, "call", call, CALLS)
    if (weights := plain.get("weights")) is not None:
        _check_value(path, "weights", weights, (*WEIGHTS, PARTLY_AVERAGED))
    batch_norm = plain.get("batch_norm") or BATCH_NORM[0]
    _check_value(path, "batch_norm", batch_norm, BATCH_NORM)
    classes, inputs = _parse_classes(path, plain.get("classes")), _parse_inputs(path, plain.get("inputs"))
    if duplicates := [name for name in classes if name in inputs]:
        raise Mistake(f"{path}: {duplicates[0]} is in both classes and inputs; keep it in one of them")
    prior = plain["prior"]
    parts = _prior_part_nodes(path, "prior", prior, required=not (classes or inputs))
    views = {str(name): view for name, node in prior.items() if isinstance(node, dict) and "distribution" in node
             and (view := _parse_sizes(node.get("shape")))} if parts else {}  # fmt: skip
    draws = {
        name: _prior_part_nodes(path, f"draws.{name}", node)
        for name, node in _parse_mappings(path, "draws", plain).items()
    }
    notes = {key: None if plain.get(key) is None else str(plain[key]) for key in ("licence", "source")}
    bounds = _parse_bounds(path, plain["range"], shape, plain.get("modality"))
    images = plain.get("images") or 0
    if type(images) is not int or images < 0:
        raise Mistake(f"{path}: images={images} must be the number of images shown in training, an integer")
    return Description(
        parts, shape, bounds, call, _parse_sides(path, plain, parts, [*classes, *inputs]),
        str(plain.get("samples") or DEFAULT_SAMPLES), architecture,
        _parse_networks(path, "makers", plain.get("makers")) or {}, draws, classes, inputs,
        str(plain.get("conditions") or DEFAULT_CONDITIONS), views, weights, **notes, batch_norm=batch_norm,
        images=images, condition_is_tensor=type(plain.get("classes")) is int,
    )  # fmt: skip


def _parse_networks(path: Path, key: str, nodes: Any) -> dict[str, dict[str, Any]] | None:
    """Return the configs of networks by name; None if there are none."""
    if not nodes:
        return None
    for node in nodes.values() if isinstance(nodes, dict) else [None]:
        if not (isinstance(node, dict) and isinstance(node.get("_target_"), str)):
            name = "generator" if key == "architecture" else "paste"
            raise Mistake(f"{path}: {key}={nodes} must be {{{name}: {{_target_: <module>.<Class>, ...}}}}, or absent")
    return {str(name): node for name, node in nodes.items()}


def _parse_sides(
    path: Path, plain: Mapping[str, Any], parts: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Side]:
    """Return the sides of the description; by default one network makes samples, from the latent if there is one."""
    nodes = _parse_mappings(path, "sides", plain)
    if not nodes:
        for key in GAME_KEYS[1:]:
            if plain.get(key):
                raise Mistake(f"{path}: {key} needs sides, which define how samples are made (docs/exporting.md)")
        if (architecture := plain.get("architecture")) and GENERATOR not in architecture:
            raise Mistake(f"{path} lacks architecture.generator: it has {', '.join(architecture)}, and no sides define "
                          "how samples are made")  # fmt: skip
        columns = {name: "y" if name == LABEL else name for name in names}
        source = LATENT if parts else columns.pop(names[0])
        return {DEFAULT_SAMPLES: Side(source, (GENERATOR,), columns)}
    if plain.get("call") == "parts":
        raise Mistake(f"{path}: call=parts: networks named in sides are called network(x, condition): call=mapping")
    try:
        sides = parse_sides(nodes)
        check_sides(sides, plain.get("architecture") or (), plain.get("makers") or ())
    except Mistake as mistake:
        raise Mistake(f"{path}: {str(mistake).removeprefix('game.')}") from None
    if (samples := str(plain.get("samples") or DEFAULT_SAMPLES)) not in sides:
        raise Mistake(f"{path}: samples={samples}: no such side.{did_you_mean(samples, sides)} "
                      f"Sides: {', '.join(sides)}")  # fmt: skip
    return sides


def _parse_mappings(path: Path, key: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping of mappings; {} if the key is missing."""
    nodes = plain.get(key) or {}
    if not isinstance(nodes, dict) or not all(isinstance(node, dict) for node in nodes.values()):
        raise Mistake(f"{path}: {key}={nodes} must be {{<name>: {{...}}}}, or absent")
    return {str(name): node for name, node in nodes.items()}


def _parse_classes(path: Path, value: Any) -> dict[str, int]:
    """Return the number of classes by condition."""
    classes = value if isinstance(value, dict) else {} if value is None else {LABEL: value}
    for name, number in classes.items():
        if type(number) is not int or number < 1:
            key = f"classes.{name}" if classes is value else "classes"
            raise Mistake(f"{path}: {key}={number} must be the number of classes, {{label: 10}}, or null for none")
    return {str(name): number for name, number in classes.items()}


def _parse_inputs(path: Path, value: Any) -> dict[str, Input]:
    """Return the conditions that are not classes."""
    nodes = value or {}
    inputs = {}
    for name, node in nodes.items() if isinstance(nodes, dict) else [("inputs", value)]:
        shape = node.get("shape") if isinstance(node, dict) else None
        if shape is None or (shape and not _parse_sizes(shape)) or set(node) - {"shape", "dtype"}:
            raise Mistake(f"{path}: inputs.{name}={node} must be {{shape: [3, 64, 64], dtype: float32}}, of one row")
        _check_value(path, f"inputs.{name}.dtype", dtype := node.get("dtype", "float32"), DTYPES)
        inputs[str(name)] = Input(tuple(shape), dtype)
    return inputs


def _prior_part_nodes(path: Path, key: str, value: Any, required: bool = True) -> dict[str, dict[str, Any]]:
    """Return the parts of a prior as config nodes that can be instantiated. Raises Mistake for an invalid part."""
    parts = {str(name): node for name, node in value.items() if name != "_target_"} if isinstance(value, dict) else {}
    if required and not parts:
        raise Mistake(f"{path}: {key} needs the parts of the latent: {{z: {{distribution: normal, dim: 100}}}}")
    return {name: _prior_part_node(path, f"{key}.{name}", node) for name, node in parts.items()}


def _prior_part_node(path: Path, name: str, node: Any) -> dict[str, Any]:
    """Return a part of the latent as a config node that can be instantiated. Raises Mistake for an invalid value."""
    part = node if isinstance(node, dict) else {}
    for key, wanted in (("dim", "an integer from 1 on: 100"), ("shape", "integers from 1 on: [100, 1, 1]")):
        value = part.get(key)
        if key in part and not _parse_sizes([value] if key == "dim" else value):
            raise Mistake(f"{path}: {name}.{key}={'null' if value is None else value} must be {wanted}")
    if "_target_" in part:
        return part
    if "distribution" not in part or not {"dim", "shape"} & set(part):
        raise Mistake(f"{path}: {name} needs a distribution and a dim: {{distribution: normal, dim: 100}}")
    distribution = node["distribution"]
    _check_value(path, f"{name}.distribution", distribution, DISTRIBUTIONS)
    dim = prod(_parse_sizes(node.get("shape")) or (node["dim"],))
    arguments = {key: value for key, value in node.items() if key not in ("distribution", "shape", "dim")}
    return {"_target_": f"saddlepoint.prior.{distribution}.{distribution.title()}", "dim": dim, **arguments}


def _parse_bounds(path: Path, value: Any, shape: Sequence[int], modality_name: Any) -> tuple[float, float] | None:
    is_numeric = isinstance(value, list) and all(isinstance(end, int | float) for end in value)
    key = tuple(map(float, value)) if is_numeric else value
    bounded = modality.is_bounded_shape(shape) if modality_name is None else None
    contradicts_shape = bounded is not None and (key is None) == bounded
    if isinstance(key, list | dict) or key not in RANGES or contradicts_shape:
        wanted = "null, for points" if bounded is False else "[-1, 1], [0, 1] or uint8"
        raise Mistake(f"{path}: range={'null' if value is None else value} must be {wanted}")
    return RANGES[key]


def _parse_sizes(value: Any) -> tuple[int, ...]:
    """Return `value` as a tuple if it is a list of integers from 1 on, else ()."""
    is_valid = isinstance(value, list | tuple) and all(type(size) is int and size > 0 for size in value)
    return tuple(value) if is_valid else ()


def _check_value(path: Path, key: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise Mistake(f"{path}: {key}={value} must be {' or '.join(allowed)}.{did_you_mean(str(value), allowed)}")
