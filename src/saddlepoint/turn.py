"""What one player's turn lets the losses see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean

Condition = Mapping[str, Tensor]  # named tensors, a row per sample: label [N] int64, source [N, C, H, W], ...
UNCONDITIONAL: Condition = MappingProxyType({})
BATCH_COLUMNS = ("x", "y", "labelled_x", "labelled_y")  # that every batch has by itself, maybe None


@dataclass(frozen=True)
class Batch:
    """What data yields: N real samples, and what stands beside them, as named columns.

    x, y and the pair `labelled` are the columns x, y, labelled_x and labelled_y; `more` holds any others, each with as
    many rows as it has.  Progress counts the rows of x.
    """

    x: Tensor  # [N, *shape], as networks see it; None where samples are drawn and no real is at hand
    y: Tensor | None = None  # [N], int64: the class; None where the data has none
    labelled: tuple[Tensor, Tensor] | None = None  # (x, y) of the labelled batch
    extra_columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def columns(self) -> dict[str, Tensor | None]:
        """Every column by name."""
        x, y = self.labelled or (None, None)
        return {"x": self.x, "y": self.y, "labelled_x": x, "labelled_y": y, **self.extra_columns}

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with each of its columns put through `function`."""
        columns = {name: None if value is None else function(value) for name, value in self.columns().items()}
        return batch_from_columns(columns)

    def to(self, device: torch.device) -> Batch:
        """Itself where it lies on `device` already, else a copy there."""
        return self if self.x.device == device else self.map(lambda column: column.to(device))


def batch_from_columns(columns: Mapping[str, Tensor | None]) -> Batch:
    """The batch of these columns."""
    rest = {name: value for name, value in columns.items() if value is not None}
    x, y = cast(Tensor, rest.pop("x", None)), rest.pop("y", None)
    labelled = rest.pop("labelled_x", None), rest.pop("labelled_y", None)
    return Batch(x, y, None if labelled[0] is None or labelled[1] is None else (labelled[0], labelled[1]), rest)


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What a discriminator says of N samples."""

    logits: Tensor  # [N, ...], unbounded; sigmoid(logits) = D(x) where D is a classifier
    features: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # hidden layers by name, [N, ...]; the last is the default
    heads: Mapping[str, Tensor] = field(default_factory=dict)  # [N, K] each, by name


@dataclass
class Sample:
    """Samples x under a condition; their judge is asked on first look, once."""

    x: Any  # [N, ...]; of an encoder, a mapping of latent parts [N, dim]
    condition: Condition  # the judge's second argument
    judge: Callable[..., DiscriminatorOutput] | None
    needs_input_gradient: bool = False  # whether a term takes the slope of D at x; of a leaf that requires grad, always
    extra_output: Any = None  # what the maker returned beside x: a posterior, log-probabilities, a style

    def __post_init__(self) -> None:
        """Where a slope is taken, x and all that D computes of it are float32 at least, whatever autocast is set to."""
        self.needs_input_gradient |= isinstance(self.x, Tensor) and self.x.requires_grad and self.x.is_leaf
        if self.needs_input_gradient and isinstance(self.x, Tensor):
            self.x = self.x.to(torch.promote_types(self.x.dtype, torch.float32))

    @cached_property
    def output(self) -> DiscriminatorOutput:
        """Raises Mistake where nobody judges this side."""
        if self.judge is None:
            raise Mistake("a term looks at the logits of a side that nobody judges: give it a judge in game.sides")
        with full_precision(self.x) if self.needs_input_gradient else nullcontext():
            return self.judge(self.x, self.condition)

    @property
    def logits(self) -> Tensor:
        """D's, in float32 at least: what is made of them is no matter for half precision."""
        return self.output.logits.to(torch.promote_types(self.output.logits.dtype, torch.float32))

    @property
    def features(self) -> Tensor:
        """The discriminator's last named feature."""
        return list(self.output.features.values())[-1]


def needs_input_gradient(x: Any) -> bool:
    """Whether x, or a part of it, is a leaf that requires grad, so that a term may take a slope there."""
    parts = x.values() if isinstance(x, Mapping) else [x]
    return any(isinstance(part, Tensor) and part.requires_grad and part.is_leaf for part in parts)


def _leaf(x: Any) -> Any:
    """x, or each part of it, as a leaf that requires grad, in float32 at least."""
    if isinstance(x, Mapping):
        return {name: _leaf(part) for name, part in x.items()}
    return x.to(torch.promote_types(x.dtype, torch.float32)).detach().requires_grad_()


def full_precision(x: Any) -> torch.autocast:
    """A context in which nothing is cast to half precision, whose range squares of slopes would leave."""
    first = next(iter(x.values())) if isinstance(x, Mapping) else x
    return torch.autocast(first.device.type, enabled=False)


@dataclass
class Turn:
    """What the players that move at once see: turn["fake"] is made on first look and judged on first look, each once.

    A graph to the makers' weights exists where one of the movers is among those that a side is computed from.  With a
    `player`, real and fake are what its `sees` maps them to.
    """

    sides: Mapping[str, Any]  # game.side.Side by name
    networks: Mapping[str, Callable[..., Any]]  # of players and makers
    batch: Batch
    draws: Mapping[str, Mapping[str, Tensor]]  # by name: latent -> its parts, [N, dim] each
    movers: Collection[str] = ()
    dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of each side: game.side.dependencies
    slope_at: frozenset[str] = frozenset()  # sides, or "latent", where a due term takes a slope
    player: Any = None  # whose losses are taken
    term_draw: Any = None  # what the term that is evaluated drew before the turn
    prior: Any = None
    images: int = 0  # real images shown before this round
    samples: dict[str, Sample] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Sample:
        """The side `name`.  Raises Mistake for one that the game does not have."""
        return self.side_sample(name if self.player is None else self.player.side_by_role.get(name, name))

    def player_entry(self, entry: str) -> Any:
        """The entry that a term names: real and fake are what its player sees as these."""
        head, dot, part = entry.partition(".")
        return self.entry((head if self.player is None else self.player.side_by_role.get(head, head)) + dot + part)

    def repeated_entry(self, entry: str, x: Tensor) -> Any:
        """The entry that a term names, a row per sample of x: of N rows beside k N samples each is repeated k times."""
        return _repeated(self.player_entry(entry), x.shape[0])

    @property
    def real(self) -> Sample:
        """turn["real"], as terms of the two-player game may ask for it."""
        return self["real"]

    @property
    def fake(self) -> Sample:
        """turn["fake"]."""
        return self["fake"]

    def side_sample(self, side: str) -> Sample:
        """A side by its own name, whatever the player sees in its place."""
        if side not in self.samples:
            self.samples[side] = self._make(side)
        return self.samples[side]

    def has(self, name: str) -> bool:
        """Whether this batch holds the column that a side starts from."""
        if name in self.samples:
            return True
        if name in self.sides:
            return self.has(self.sides[name].of)
        return self.columns.get(name, self.batch.x) is not None

    @property
    def latent(self) -> Mapping[str, Tensor]:
        """The named parts of the latents, [N, dim] each."""
        return self.draws["latent"]

    def entry(self, name: str) -> Any:
        """The x of a side, a draw, a part of either (latent.z), or a column of the batch."""
        head, _, part = name.partition(".")
        if head in self.sides:
            x = self.side_sample(head).x
        elif head in self.draws:
            x = self.draws[head]
        else:
            columns = self.columns
            if name not in columns:
                known = [*self.sides, *self.draws, *columns]
                raise Mistake(f"there is no entry {name}.{did_you_mean(name, known)} There are: {', '.join(known)}")
            return columns[name]
        return x[part] if part else x

    def condition(self, names: Mapping[str, str], x: Any) -> Condition:
        """The entries that a condition names, one row per sample of x.

        Of N rows beside k N samples each is repeated k times; of k N latents beside N samples, the first N stand (a
        turn of `multiple` = k draws so many).  Raises Mistake for a column that the batch does not have.
        """
        first = x if isinstance(x, Tensor) else next(iter(x.values()))
        rows = first.shape[0] if names else 0  # an exported program may have any number; len() would fix it
        return {key: self._beside(key, name, rows) for key, name in names.items()}

    def _beside(self, key: str, name: str, rows: int) -> Any:
        if (value := self.entry(name)) is None:
            raise Mistake(f"condition {key} is the column {name}, and these data have none. {self._columns_there()}")
        return _first(value, rows) if name.partition(".")[0] in self.draws else _repeated(value, rows)

    def _columns_there(self) -> str:
        there = [name for name, column in self.columns.items() if column is not None]
        return f"Columns of this batch: {', '.join(there)}"

    @cached_property
    def columns(self) -> dict[str, Tensor | None]:
        """The columns of the batch."""
        return self.batch.columns()

    def maker_inputs(self, side: Any, maker: str) -> tuple[Any, Condition]:
        """What `maker` is given where it makes a side (game.side.Side): x, and the condition."""
        x = self.entry(side.of)
        condition = self.condition(side.condition, x)
        return self._through(side.by[: side.by.index(maker)], x, condition)[0], condition

    def _through(self, makers: Sequence[str], x: Any, condition: Condition, made: Any = None) -> tuple[Any, Any]:
        """x as the makers leave it, one after the other, and what they returned beside it."""
        for maker in makers:
            output = self.networks[maker](x, condition)
            if not isinstance(output, tuple):
                x = output
            elif len(output) == 2:
                x, made = output
            else:
                raise Mistake(
                    f"{maker} gives a tuple of {len(output)}, and it is to give samples, or a pair: samples, and what "
                    "is to stand in `made` beside them"
                )
        return x, made

    def _make(self, name: str) -> Sample:
        if (side := self.sides.get(name)) is None:
            raise Mistake(
                f"there is no side {name}.{did_you_mean(name, self.sides)} This game has {', '.join(self.sides)}"
            )
        moved = not self.dependencies.get(name, frozenset()).isdisjoint({*self.movers, *self.slope_at & {"latent"}})
        with torch.set_grad_enabled(moved):
            x = self.entry(side.of)
            if x is None:
                raise Mistake(f"side {name} starts from {side.of}, and these data have none. {self._columns_there()}")
            condition = self.condition(side.condition, x) if side.condition else {}
            x, made = self._through(side.by, x, condition) if side.by else (x, None)
        slope = name in self.slope_at
        parts = x.values() if isinstance(x, Mapping) else [x]
        if slope and not (moved and any(part.requires_grad for part in parts)):
            x = _leaf(x)  # so that a penalty needs no second pass through D
        asked = condition if side.judge_condition == side.condition else self.condition(side.judge_condition, x)
        return Sample(x, asked, self.networks.get(side.judge) if side.judge else None, slope, made)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in mappings, sequences and dataclasses, however deep."""
    if isinstance(value, Tensor):
        yield value
        return
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for part in vars(value).values() if is_dataclass(value) else parts:
        yield from tensors_in(part)


def _first(value: Any, rows: int) -> Any:
    """The first rows of a draw of more."""
    if isinstance(value, Mapping):
        return {name: _first(part, rows) for name, part in value.items()}
    return value[:rows] if value.shape[0] > rows else _repeated(value, rows)


def _repeated(value: Any, rows: int) -> Any:
    """A condition of N rows beside k N samples, repeated k times; others, and None, as they are."""
    if not isinstance(value, Tensor) or (own := value.shape[0]) == rows or not own or rows % own:
        return value
    return value.repeat(rows // own, *(1,) * (value.ndim - 1))
