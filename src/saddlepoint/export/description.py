"""What a generator's file does not say of itself: a small yaml beside it, ours (config.yaml) or anybody's.

architecture:                # how to build it; left out for TorchScript, torch.export and ONNX, which bring it
  generator: {_target_: saddlepoint.architecture.mlp.Generator, latent: 100, shape: [1, 8, 8]}
prior:                       # the parts of the latent, in order; {} where there is none
  z: {distribution: normal, dim: 100}       # or uniform (low, high), categorical; shape: [100, 1, 1] for [N, 100, 1, 1]
data: {shape: [1, 8, 8]}     # of one sample: [C, H, W], or [D] of points
classes: {label: 10}         # the conditions that are a class, and how many there are; null for none; 10 is {label: 10}
inputs:                      # the conditions that are anything else, in order; dtype is float32 where nothing is said
  source: {shape: [3, 64, 64], dtype: float32}
conditions: labels           # where they come from: labels, each class alike; or split:validation, the rows of a split
range: [-1, 1]               # of its pixels; [0, 1], or uint8; null for points, and what else has no bounds
modality: null               # the name of one that the shape does not imply, [C, H, W] images and [D] points
call: mapping                # network({part: tensor}, {condition: tensor}); parts: network(tensor, ..., tensor)
weights: averaged            # or raw: whose weights these are
batch_norm: running          # or reestimated: its statistics are those of the averaged weights, measured anew
licence: null                # and `source`: a line each, which are recorded

Where samples are more than one network's of the latent, these say how they are made, as in a config (`game`):

architecture: {generator: {...}}, makers: {paste: {...}}    # every network and maker that samples pass through
sides: {fake: {by: [generator, paste], condition: {mask: hole.mask}}}, samples: fake, draws: {hole: {mask: {...}}}
images: 20000                # that had been shown, for modules that follow the clock
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from saddlepoint import modality
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.side import LATENT, Side, check_sides, parse_sides

NAMES = ("generator.yaml", "config.yaml")  # looked for beside a generator's file, in this order
NEEDED = ("prior", "data", "range")
GAME = ("sides", "samples", "makers", "draws")
KNOWN = (
    *NEEDED, *GAME, "architecture", "classes", "inputs", "conditions", "call", "weights", "batch_norm", "images",
    "modality", "licence", "source", "seed",
)  # fmt: skip
DISTRIBUTIONS = ("normal", "uniform", "categorical")
RANGES: Mapping[Any, tuple[float, float] | None] = {
    (-1.0, 1.0): (-1.0, 1.0), (0.0, 1.0): (0.0, 1.0), "uint8": (0.0, 255.0), None: None,
}  # fmt: skip
CALLS = ("mapping", "parts")
WEIGHTS = ("averaged", "raw")
PARTLY = "partly averaged"  # some of the players that make samples keep an average
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")
LABEL, GENERATOR = "label", "generator"  # the class, which is column y; the network where there is one alone
DEFAULT_CONDITIONS = "labels"  # where they come from unless a description says so
SAMPLES = "fake"  # the side where a description names none
STATISTICS = ("running", "reestimated")


@dataclass(frozen=True)
class Input:
    """A condition that is no class: the shape and the type of a row."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Description:
    """A generator's yaml, checked."""

    prior: Mapping[str, Mapping[str, Any]]  # part -> a node with `_target_` and its arguments
    shape: tuple[int, ...]  # of one sample
    bounds: tuple[float, float] | None  # of its values; None: points
    call: str
    sides: Mapping[str, Side]
    samples: str = SAMPLES
    architecture: Mapping[str, Mapping[str, Any]] | None = None  # by player
    makers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    draws: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)  # as `prior`, by name
    classes: Mapping[str, int] = field(default_factory=dict)  # by condition
    inputs: Mapping[str, Input] = field(default_factory=dict)  # by condition
    conditions: str = DEFAULT_CONDITIONS
    views: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # parts that the network wants in another shape
    weights: str | None = None  # None: nothing was said
    licence: str | None = None
    source: str | None = None
    batch_norm: str = "running"
    images: int = 0
    condition_is_tensor: bool = False  # of an earlier edition, whose networks took the class itself: `classes: 10`


def find_description(file: Path) -> Path:
    """The yaml of a generator's file.  Raises Mistake where there is none."""
    for name in NAMES:
        if (path := file.parent / name).exists():
            return path
    raise Mistake(
        f"{file}: nothing says how to ask this generator. Put a generator.yaml beside it, with prior, data.shape and "
        "range (docs/exporting.md), or name one: description=<file.yaml>"
    )


def parse_description(plain: Mapping[str, Any], path: Path) -> Description:
    """The description that stands in the yaml at `path`.

    Raises Mistake for a key that is missing, unknown or makes no sense.
    """
    for key in map(str, plain):
        if key not in KNOWN:
            raise Mistake(f"{path}: nothing reads {key}.{did_you_mean(key, KNOWN)}")
    for key in NEEDED:
        if key not in plain:
            raise Mistake(f"{path} lacks {key}: it needs {', '.join(NEEDED)}, as docs/exporting.md shows")
    shape = _numbers((plain["data"] or {}).get("shape") if isinstance(plain["data"], dict) else None)
    if not shape:
        raise Mistake(f"{path} lacks data.shape: [channels, height, width] of one sample, or [numbers] of a point")
    own = _networks(path, "architecture", plain.get("architecture"))
    call = plain.get("call") or ("mapping" if own else "parts")
    _one_of(path, "call", call, CALLS)
    if (weights := plain.get("weights")) is not None:
        _one_of(path, "weights", weights, (*WEIGHTS, PARTLY))
    batch_norm = plain.get("batch_norm") or STATISTICS[0]
    _one_of(path, "batch_norm", batch_norm, STATISTICS)
    classes, inputs = _classes(path, plain.get("classes")), _inputs(path, plain.get("inputs"))
    if both := [name for name in classes if name in inputs]:
        raise Mistake(f"{path}: {both[0]} stands in classes and in inputs; it is a class, or it is not")
    said = plain["prior"]
    parts = _parts(path, "prior", said, needed=not (classes or inputs))
    views = {str(name): sides for name, node in said.items() if isinstance(node, dict) and "distribution" in node
             and (sides := _numbers(node.get("shape")))} if parts else {}  # fmt: skip
    draws = {name: _parts(path, f"draws.{name}", node) for name, node in _mapping(path, "draws", plain).items()}
    lines = {key: None if plain.get(key) is None else str(plain[key]) for key in ("licence", "source")}
    bounds = _bounds(path, plain["range"], shape, plain.get("modality"))
    images = plain.get("images") or 0
    if type(images) is not int or images < 0:
        raise Mistake(f"{path}: images={images}: how many real images had been shown, a whole number")
    return Description(
        parts, shape, bounds, call, _sides(path, plain, parts, [*classes, *inputs]),
        str(plain.get("samples") or SAMPLES), own, _networks(path, "makers", plain.get("makers")) or {}, draws,
        classes, inputs, str(plain.get("conditions") or DEFAULT_CONDITIONS), views, weights, **lines, batch_norm=batch_norm,
        images=images, condition_is_tensor=type(plain.get("classes")) is int,
    )  # fmt: skip


def _networks(path: Path, key: str, said: Any) -> dict[str, dict[str, Any]] | None:
    """How to build networks, by name; None where nothing is said."""
    if not said:
        return None
    for node in said.values() if isinstance(said, dict) else [None]:
        if not (isinstance(node, dict) and isinstance(node.get("_target_"), str)):
            name = "generator" if key == "architecture" else "paste"
            raise Mistake(f"{path}: {key}={said}: it is {{{name}: {{_target_: <module>.<Class>, ...}}}}, or left out")
    return {str(name): node for name, node in said.items()}


def _sides(path: Path, plain: Mapping[str, Any], parts: Mapping[str, Any], names: Sequence[str]) -> dict[str, Side]:
    """How samples are made: as it stands there, or by one network, of the latent where there is one."""
    told = _mapping(path, "sides", plain)
    if not told:
        for key in GAME[1:]:
            if plain.get(key):
                raise Mistake(f"{path}: {key} says nothing without sides, which say who makes what (docs/exporting.md)")
        if (own := plain.get("architecture")) and GENERATOR not in own:
            raise Mistake(f"{path} lacks architecture.generator: {', '.join(own)} stands there, and no sides say who "
                          "makes samples")  # fmt: skip
        columns = {name: "y" if name == LABEL else name for name in names}
        of = LATENT if parts else columns.pop(names[0])
        return {SAMPLES: Side(of, (GENERATOR,), columns)}
    if plain.get("call") == "parts":
        raise Mistake(f"{path}: call=parts: networks that sides name are called network(x, condition): call=mapping")
    try:
        sides = parse_sides(told)
        check_sides(sides, plain.get("architecture") or (), plain.get("makers") or ())
    except Mistake as mistake:
        raise Mistake(f"{path}: {str(mistake).removeprefix('game.')}") from None
    if (samples := str(plain.get("samples") or SAMPLES)) not in sides:
        raise Mistake(f"{path}: samples={samples}: there is no such side.{did_you_mean(samples, sides)} "
                      f"There are: {', '.join(sides)}")  # fmt: skip
    return sides


def _mapping(path: Path, key: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of mappings; {} where nothing is said."""
    said = plain.get(key) or {}
    if not isinstance(said, dict) or not all(isinstance(node, dict) for node in said.values()):
        raise Mistake(f"{path}: {key}={said}: it is {{<name>: {{...}}}}, or left out")
    return {str(name): node for name, node in said.items()}


def _classes(path: Path, said: Any) -> dict[str, int]:
    """How many classes there are, by condition."""
    every = said if isinstance(said, dict) else {} if said is None else {LABEL: said}
    for name, number in every.items():
        if type(number) is not int or number < 1:
            key = f"classes.{name}" if every is said else "classes"
            raise Mistake(
                f"{path}: {key}={number}: how many classes it can be asked for, {{label: 10}}, or null for none"
            )
    return {str(name): number for name, number in every.items()}


def _inputs(path: Path, said: Any) -> dict[str, Input]:
    """The conditions that are no class."""
    every = said or {}
    found = {}
    for name, node in every.items() if isinstance(every, dict) else [("inputs", said)]:
        shape = node.get("shape") if isinstance(node, dict) else None
        if shape is None or (shape and not _numbers(shape)) or set(node) - {"shape", "dtype"}:
            raise Mistake(f"{path}: inputs.{name}={node}: it is {{shape: [3, 64, 64], dtype: float32}}, of one row")
        _one_of(path, f"inputs.{name}.dtype", dtype := node.get("dtype", "float32"), DTYPES)
        found[str(name)] = Input(tuple(shape), dtype)
    return found


def _parts(path: Path, key: str, said: Any, needed: bool = True) -> dict[str, dict[str, Any]]:
    """The parts of a prior, each as a node that can be instantiated."""
    parts = {str(name): node for name, node in said.items() if name != "_target_"} if isinstance(said, dict) else {}
    if needed and not parts:
        raise Mistake(f"{path}: {key} names the parts of the latent: {{z: {{distribution: normal, dim: 100}}}}")
    return {name: _part(path, f"{key}.{name}", node) for name, node in parts.items()}


def _part(path: Path, name: str, node: Any) -> dict[str, Any]:
    """A part of the latent as a node that can be instantiated."""
    own = node if isinstance(node, dict) else {}
    for key, wanted in (("dim", "a whole number from 1 on: 100"), ("shape", "whole numbers from 1 on: [100, 1, 1]")):
        said = own.get(key)
        if key in own and not _numbers([said] if key == "dim" else said):
            raise Mistake(f"{path}: {name}.{key}={'null' if said is None else said}: it is {wanted}")
    if "_target_" in own:
        return own
    if "distribution" not in own or not {"dim", "shape"} & set(own):
        raise Mistake(f"{path}: {name} needs a distribution and a dim: {{distribution: normal, dim: 100}}")
    _one_of(path, f"{name}.distribution", node["distribution"], DISTRIBUTIONS)
    size = prod(_numbers(node.get("shape")) or (node["dim"],))
    kind = node["distribution"]
    rest = {key: value for key, value in node.items() if key not in ("distribution", "shape", "dim")}
    return {"_target_": f"saddlepoint.prior.{kind}.{kind.title()}", "dim": size, **rest}


def _bounds(path: Path, said: Any, shape: Sequence[int], named: Any) -> tuple[float, float] | None:
    numeric = isinstance(said, list) and all(isinstance(end, int | float) for end in said)
    key = tuple(map(float, said)) if numeric else said
    bounded = modality.is_bounded_shape(shape) if named is None else None
    unfit = bounded is not None and (key is None) == bounded
    if isinstance(key, list | dict) or key not in RANGES or unfit:
        wanted = "null, for points" if bounded is False else "[-1, 1], [0, 1] or uint8"
        raise Mistake(f"{path}: range={'null' if said is None else said}: it is {wanted}")
    return RANGES[key]


def _numbers(said: Any) -> tuple[int, ...]:
    """Whole numbers from 1 on; () for anything else."""
    fits = isinstance(said, list | tuple) and all(type(side) is int and side > 0 for side in said)
    return tuple(said) if fits else ()


def _one_of(path: Path, key: str, said: Any, known: Sequence[str]) -> None:
    if said not in known:
        raise Mistake(f"{path}: {key}={said}: it is {' or '.join(known)}.{did_you_mean(str(said), known)}")
