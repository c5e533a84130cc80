"""Samples of a run, by label=3, by=label or source=<folder>, in the files that the modality of its data has."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saddlepoint.config.tree import CheckedConfig
from saddlepoint.data.samples import load_samples
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.build import build_game, modality_from_config
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.restore import restore_checkpoint_or_snapshot
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import class_condition, condition_columns, condition_entries
from saddlepoint.modality import Modality, default_modality
from saddlepoint.modality.modality import FOLDER
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, read_json, unwritable_error, write_file
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Condition

Say = Callable[[str], None]


class Request(NamedTuple):
    """What a command line asks for; at most two of the last three."""

    n: int
    label: Any = None  # a class, or {label: class}
    by: str | None = None  # a label
    source: Any = None  # a place, or {condition: place}


@dataclass(frozen=True)
class ResolvedRequest:
    """n samples under a condition, n rows each; what it leaves out comes as `game.conditions` has it."""

    n: int
    condition: Condition = field(default_factory=dict)
    columns: int | None = None  # of a picture: how many stand beside each other; None: a square
    labels: Tensor | None = None  # the class of each sample, column y, where it was asked for


def resolve_request(
    game: Game, request: Request, modality: Modality, shapes: Mapping[str, Any], say: Say
) -> ResolvedRequest:
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
        found = ResolvedRequest(columns * size, {request.by: torch.arange(size).repeat_interleave(columns)}, columns)
    else:
        n, condition = request.n, {}
        if request.source is not None:
            name, x = _source(game, request.source, modality, shapes, say)
            n = min(n, len(x))
            condition[name] = x[:n]
        if request.label is not None:
            named = request.label if isinstance(request.label, Mapping) else {"label": request.label}
            if not named:
                raise Mistake("label={} names no label: say label=3, or {colour: 2} for one of several")
            for name, value in named.items():
                condition[str(name)] = torch.full((n,), _number(game, str(name), value))
        found = ResolvedRequest(n, condition)
    name = class_condition(game)
    return found if name is None else replace(found, labels=found.condition.get(name))


def _number(game: Game, name: str, value: Any) -> int:
    """A class by its number, or by its name among the data's."""
    size = _classes(game, name)
    if type(value) is int:
        if not 0 <= value < size:
            raise Mistake(f"{name}={value}: the classes are 0 to {size - 1}")
        return value
    names = game.conditions.dataset().class_names if condition_entries(game)[name] == "y" else []
    if str(value) not in names:
        words = [own for own in names if not own.isdecimal()]
        known = f", or {', '.join(words[:10])}{', ...' if len(words) > 10 else ''}" if words else ""
        raise Mistake(f"{name}={value}: a class is a number, 0 to {size - 1}{known}.{did_you_mean(str(value), names)}")
    return names.index(str(value))


def _classes(game: Game, name: str) -> int:
    """How many classes a label has.  Raises Mistake where samples are not asked for by it."""
    names = condition_entries(game)
    labels = [own for own, column in names.items() if game.conditions.classes.get(column) is not None]
    if name not in labels:
        there = f"they are asked for by {', '.join(labels)}" if labels else "they are asked for by no class"
        more = "" if labels else ": its game has no label among the conditions of its samples (game=conditional has)"
        raise Mistake(f"samples of this run cannot be asked for by {name}; {there}{more}.{did_you_mean(name, labels)}")
    return int(game.conditions.classes[names[name]] or 0)


def _source(game: Game, source: Any, modality: Modality, shapes: Mapping[str, Any], say: Say) -> tuple[str, Tensor]:
    """The condition that a source stands for, and its rows, as networks see them."""
    names = {name: column for name, column in condition_columns(game).items() if column not in game.conditions.classes}
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
    split = load_samples(place, tuple(shapes[column]), say, modality=modality, key="source", by_name=True)
    return name, split.batch_at(torch.arange(len(split))).x


def write_samples(
    run: Run, config: CheckedConfig, request: Request, to: str | None, at: str | int, seed: int, average: bool,
    log: Say,
) -> None:  # fmt: skip
    """Draw what is requested of a run at the moment `at` and write it to `to`, which None leaves to the modality."""
    modality, shape = modality_from_config(config), tuple(config.data.shape)
    path, ending = _place(to or f"samples{_usual_ending(modality, shape, request.n)}", modality)
    modality.check_suffix(ending, shape, request.n)
    game = build_game(config)
    restore_checkpoint_or_snapshot(game, run, at, log)
    columns = (read_json(run.folder / "provenance.json").get("data") or {}).get("columns") or {}
    asked = resolve_request(game, request, modality, {**columns, "x": list(shape)}, log)
    game.to(resolve_device(config))
    x = draw_samples(game, asked.n, seed, average, 500, modality, asked.condition, asked.columns)
    _write(x, path, ending, modality, asked)
    each = f" ({asked.columns} of each class, the same latents for each)" if asked.columns else ""
    log(f"{asked.n} samples of {run.folder}, {game.images:,} images{each}: {path}")
    if lost := modality.information_loss(ending):
        log(lost)


def draw_samples(
    game: Game,
    n: int,
    seed: int = 0,
    average: bool = True,
    batch: int = 500,
    modality: Modality | None = None,
    condition: Condition = UNCONDITIONAL,
    period: int | None = None,
) -> Tensor:
    """n samples on the CPU, in the stored form; the same for the same seed, whatever the batch.

    modality   None: the one that their shape implies
    condition  what they are asked for under, n rows each; what it leaves out comes as game.conditions has it
    period     after so many samples the latents begin anew; None: never
    """
    stream, parts = Stream(seed, "sample", device=game.device), []
    for start in range(0, n, period or n):
        end = min(n, start + (period or n))
        stream = Stream(seed, "sample", device=game.device) if period else stream
        for i in range(start, end, batch):
            rows = slice(i, min(end, i + batch))
            own = {name: entry[rows].to(game.device) for name, entry in condition.items()}
            x = game.sample(rows.stop - rows.start, own, stream, average).cpu()
            modality = modality or default_modality(x.shape[1:])
            parts.append(modality.to_stored(x))
    return torch.cat(parts)


def _usual_ending(modality: Modality, shape: tuple[int, ...], n: int) -> str:
    """The first of the modality's endings that these can have: audio without a rate is no wav."""
    for ending in modality.suffixes:
        with suppress(Mistake):
            modality.check_suffix(ending, shape, n)
            return ending
    return next(iter(modality.suffixes))


def _place(to: str, modality: Modality) -> tuple[Path, str]:
    """Where samples go, and the ending that says how.

    Raises Mistake for an ending that the modality does not have, and where it cannot be written.
    """
    ending = Path(to).suffix.lower()
    if to.endswith(("/", os.sep)) or not ending:
        if destination.check_output_folder(to).exists() and any(Path(to).iterdir()):
            raise Mistake(f"{to} is not empty; name another folder, so that no samples of two runs lie together")
        return Path(to), FOLDER
    destination.check_output_file(to, modality.suffixes, modality.format_destinations())
    return Path(to), ending


def _write(x: Tensor, to: Path, ending: str, modality: Modality, asked: ResolvedRequest) -> None:
    """A file, whole or not at all, or a file per sample in a folder; classes that were asked for go into an npz."""
    try:
        (to if ending == FOLDER else to.parent).mkdir(parents=True, exist_ok=True)
        if ending != FOLDER:
            write_file(to, modality.file_content(x, ending, asked.columns, asked.labels))
            return
        for name, content in modality.folder_contents(x):
            (to / name).write_bytes(content)
    except OSError as error:
        raise unwritable_error(to, error) from None
