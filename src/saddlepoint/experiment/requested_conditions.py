"""What samples are asked for under, as `saddlepoint sample` is told: label=3, by=label, source=<folder>."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saddlepoint.data.samples import read
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import class_condition, column_leaves, leaves
from saddlepoint.modality import Modality
from saddlepoint.turn import Condition

Say = Callable[[str], None]


class Request(NamedTuple):
    """What a command line asks for; at most two of the last three."""

    n: int
    label: Any = None  # a class, or {label: class}
    by: str | None = None  # a label
    source: Any = None  # a place, or {condition: place}


@dataclass(frozen=True)
class Requested:
    """n samples under a condition, n rows each; what it leaves out comes as `game.conditions` has it."""

    n: int
    condition: Condition = field(default_factory=dict)
    columns: int | None = None  # of a picture: how many stand beside each other; None: a square
    labels: Tensor | None = None  # the class of each sample, column y, where it was asked for


def requested(game: Game, request: Request, modality: Modality, shapes: Mapping[str, Any], say: Say) -> Requested:
    """What is asked for, as tensors.

    shapes  of the columns that a source may stand for, one sample each.
    Raises Mistake where two requests contradict each other, or samples of this game are not made of such a thing.
    """
    if request.by is not None:
        if request.label is not None:
            raise Mistake("label= asks for one class and by= for all of them: say one of the two")
        if request.source is not None:
            raise Mistake("by= makes a row for each class and source= a sample for each source: say one of the two")
        size = _classes(game, request.by)
        columns = max(1, request.n // size)  # class by class, as many of each
        found = Requested(columns * size, {request.by: torch.arange(size).repeat_interleave(columns)}, columns)
    else:
        n, condition = request.n, {}
        if request.source is not None:
            name, x = _source(game, request.source, modality, shapes, say)
            n = min(n, len(x))
            condition[name] = x[:n]
        if request.label is not None:
            condition |= {name: torch.full((n,), value) for name, value in _labels(game, request.label).items()}
        found = Requested(n, condition)
    name = class_condition(game)
    return found if name is None else replace(found, labels=found.condition.get(name))


def _labels(game: Game, label: Any) -> dict[str, int]:
    """The class of each named label; a class by itself is that of `label`."""
    named = dict(label) if isinstance(label, Mapping) else {"label": label}
    if not named:
        raise Mistake("label={} names no label: say label=3, or {colour: 2} for one of several")
    return {str(name): _number(game, str(name), value) for name, value in named.items()}


def _number(game: Game, name: str, value: Any) -> int:
    """A class by its number, or by its name among the data's."""
    size = _classes(game, name)
    if type(value) is int:
        if not 0 <= value < size:
            raise Mistake(f"{name}={value}: the classes are 0 to {size - 1}")
        return value
    names = game.conditions.dataset().class_names if leaves(game)[name] == "y" else []
    if str(value) not in names:
        words = [own for own in names if not own.isdecimal()]
        known = f", or {', '.join(words[:10])}{', ...' if len(words) > 10 else ''}" if words else ""
        raise Mistake(f"{name}={value}: a class is a number, 0 to {size - 1}{known}.{did_you_mean(str(value), names)}")
    return names.index(str(value))


def _classes(game: Game, name: str) -> int:
    """How many classes a label has.  Raises Mistake where samples are not asked for by it."""
    names = leaves(game)
    labels = [own for own, column in names.items() if game.conditions.classes.get(column) is not None]
    if name not in labels:
        there = f"they are asked for by {', '.join(labels)}" if labels else "they are asked for by no class"
        more = "" if labels else ": its game has no label among the conditions of its samples (game=conditional has)"
        raise Mistake(f"samples of this run cannot be asked for by {name}; {there}{more}.{did_you_mean(name, labels)}")
    return int(game.conditions.classes[names[name]] or 0)


def _source(game: Game, source: Any, modality: Modality, shapes: Mapping[str, Any], say: Say) -> tuple[str, Tensor]:
    """The condition that a source stands for, and its rows, as networks see them."""
    names = {name: column for name, column in column_leaves(game).items() if column not in game.conditions.classes}
    if not names:
        raise Mistake("source: samples of this run start from no source, they are made of latents (and classes) alone")
    if isinstance(source, Mapping) and len(source) != 1:
        raise Mistake(f"source={dict(source)}: name one condition and its folder, {{{next(iter(names))}: <folder>}}")
    name, place = next(iter(source.items())) if isinstance(source, Mapping) else (None, source)
    if name is None:
        name = "source" if "source" in names else next(iter(names))
        if len(names) > 1 and name != "source":
            raise Mistake(
                f"source={place}: samples start from {', '.join(names)}: say which, source={{{name}: {place}}}"
            )
    if name not in names:
        raise Mistake(f"source.{name}: samples start from {', '.join(names)}.{did_you_mean(str(name), names)}")
    column = names[name]
    if column not in shapes:
        raise Mistake(f"source={place}: this run's record does not say what shape {column} has: {', '.join(shapes)}")
    split = read(place, tuple(shapes[column]), say, modality=modality, key="source", by_name=True)
    return name, split.batch(torch.arange(len(split))).x
