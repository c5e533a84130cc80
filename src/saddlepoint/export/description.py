"""What a generator's file does not say of itself: a small yaml beside it, ours (config.yaml) or anybody's.

architecture:                # how to build it; left out for TorchScript, torch.export and ONNX, which bring it
  generator: {_target_: saddlepoint.architecture.mlp.Generator, latent: 100, shape: [1, 8, 8]}
prior:                       # the parts of the latent, in order
  z: {distribution: normal, dim: 100}       # or uniform (low, high), categorical; shape: [100, 1, 1] for [N, 100, 1, 1]
data: {shape: [1, 8, 8]}     # of one sample: [C, H, W], or [D] of points
classes: null                # how many it can be asked for
range: [-1, 1]               # of its pixels; [0, 1], or uint8; null for points
call: mapping                # network({part: tensor}, y); parts: network(tensor, ..., y)
weights: averaged            # or raw: whose weights these are
batch_norm: running          # or reestimated: its statistics are those of the averaged weights, measured anew
licence: null                # and `source`: a line each, which are recorded
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from saddlepoint import modality
from saddlepoint.error import Mistake, did_you_mean

NAMES = ("generator.yaml", "config.yaml")  # looked for beside a generator's file, in this order
NEEDED = ("prior", "data", "range")
KNOWN = (*NEEDED, "architecture", "classes", "call", "weights", "batch_norm", "licence", "source", "seed")
DISTRIBUTIONS = ("normal", "uniform", "categorical")
RANGES: Mapping[Any, tuple[float, float] | None] = {
    (-1.0, 1.0): (-1.0, 1.0), (0.0, 1.0): (0.0, 1.0), "uint8": (0.0, 255.0), None: None,
}  # fmt: skip
CALLS = ("mapping", "parts")
WEIGHTS = ("averaged", "raw")
STATISTICS = ("running", "reestimated")


@dataclass(frozen=True)
class Description:
    """A generator's yaml, checked."""

    prior: Mapping[str, Mapping[str, Any]]  # part -> a node with `_target_` and its arguments
    shape: tuple[int, ...]  # of one sample
    bounds: tuple[float, float] | None  # of its values; None: points
    call: str
    architecture: Mapping[str, Any] | None = None
    classes: int | None = None
    views: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # parts that the network wants in another shape
    weights: str | None = None  # None: nothing was said
    licence: str | None = None
    source: str | None = None
    batch_norm: str = "running"


def beside(file: Path) -> Path:
    """The yaml of a generator's file.  Raises Mistake where there is none."""
    for name in NAMES:
        if (path := file.parent / name).exists():
            return path
    raise Mistake(
        f"{file}: nothing says how to ask this generator. Put a generator.yaml beside it, with prior, data.shape and "
        "range (docs/exporting.md), or name one: description=<file.yaml>"
    )


def checked(plain: Mapping[str, Any], path: Path) -> Description:
    """The description that stands in the yaml at `path`.

    Raises Mistake for a key that is missing, unknown or makes no sense.
    """
    for key in map(str, plain):
        if key not in KNOWN:
            raise Mistake(f"{path}: nothing reads {key}.{did_you_mean(key, KNOWN)}")
    for key in NEEDED:
        if key not in plain:
            raise Mistake(f"{path} lacks {key}: it needs {', '.join(NEEDED)}, as docs/exporting.md shows")
    return _description(plain, path)


def _description(plain: Mapping[str, Any], path: Path) -> Description:
    shape = _numbers((plain["data"] or {}).get("shape") if isinstance(plain["data"], dict) else None)
    if not shape:
        raise Mistake(f"{path} lacks data.shape: [channels, height, width] of one sample, or [numbers] of a point")
    own = _node(path, plain.get("architecture"))
    call = plain.get("call") or ("mapping" if own else "parts")
    classes = plain.get("classes")
    _one_of(path, "call", call, CALLS)
    if (weights := plain.get("weights")) is not None:
        _one_of(path, "weights", weights, WEIGHTS)
    batch_norm = plain.get("batch_norm") or STATISTICS[0]
    _one_of(path, "batch_norm", batch_norm, STATISTICS)
    if classes is not None and (type(classes) is not int or classes < 1):
        raise Mistake(f"{path}: classes={classes}: how many classes it can be asked for, or null for none")
    said = plain["prior"]
    parts = {str(name): node for name, node in said.items() if name != "_target_"} if isinstance(said, dict) else {}
    if not parts:
        raise Mistake(f"{path}: prior names the parts of the latent: {{z: {{distribution: normal, dim: 100}}}}")
    nodes = {name: _part(path, name, node) for name, node in parts.items()}
    views = {name: sides for name, node in parts.items() if (sides := _numbers(node.get("shape")))}
    lines = {key: None if plain.get(key) is None else str(plain[key]) for key in ("licence", "source")}
    bounds = _bounds(path, plain["range"], shape)
    return Description(nodes, shape, bounds, call, own, classes, views, weights, **lines, batch_norm=batch_norm)


def _node(path: Path, architecture: Any) -> dict[str, Any] | None:
    """How to build the network; None where nothing is said."""
    own = architecture.get("generator") if isinstance(architecture, dict) else architecture
    if own is not None and not (isinstance(own, dict) and isinstance(own.get("_target_"), str)):
        raise Mistake(f"{path}: architecture={architecture}: it is {{generator: {{_target_: <module>.<Class>, ...}}}}, "
                      "or left out")  # fmt: skip
    return own


def _part(path: Path, name: str, node: Any) -> dict[str, Any]:
    """A part of the latent as a node that can be instantiated."""
    if isinstance(node, dict):
        _sized(path, name, node)
        if "_target_" in node:
            return node
    if not isinstance(node, dict) or "distribution" not in node or not {"dim", "shape"} & set(node):
        raise Mistake(f"{path}: prior.{name} needs a distribution and a dim: {{distribution: normal, dim: 100}}")
    _one_of(path, f"prior.{name}.distribution", node["distribution"], DISTRIBUTIONS)
    size = prod(_numbers(node.get("shape")) or (node["dim"],))
    kind = node["distribution"]
    rest = {key: value for key, value in node.items() if key not in ("distribution", "shape", "dim")}
    return {"_target_": f"saddlepoint.prior.{kind}.{kind.title()}", "dim": size, **rest}


def _sized(path: Path, name: str, node: Mapping[str, Any]) -> None:
    """Raises Mistake where a part says a size that is none."""
    for key, wanted in (("dim", "a whole number from 1 on: 100"), ("shape", "whole numbers from 1 on: [100, 1, 1]")):
        said = node.get(key)
        if key in node and not _numbers([said] if key == "dim" else said):
            raise Mistake(f"{path}: prior.{name}.{key}={'null' if said is None else said}: it is {wanted}")


def _bounds(path: Path, said: Any, shape: Sequence[int]) -> tuple[float, float] | None:
    key = tuple(float(end) for end in said) if isinstance(said, list) and _numeric(said) else said
    bounded = modality.bounded(shape)
    unfit = bounded is not None and (key is None) == bounded
    if isinstance(key, list | dict) or key not in RANGES or unfit:
        wanted = "null, for points" if bounded is False else "[-1, 1], [0, 1] or uint8"
        raise Mistake(f"{path}: range={'null' if said is None else said}: it is {wanted}")
    return RANGES[key]


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _numbers(said: Any) -> tuple[int, ...]:
    """Whole numbers from 1 on; () for anything else."""
    fits = isinstance(said, list | tuple) and all(type(side) is int and side > 0 for side in said)
    return tuple(said) if fits else ()


def _one_of(path: Path, key: str, said: Any, known: Sequence[str]) -> None:
    if said not in known:
        raise Mistake(f"{path}: {key}={said}: it is {' or '.join(known)}.{did_you_mean(str(said), known)}")
