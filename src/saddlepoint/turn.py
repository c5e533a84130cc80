"""The data of one turn: batches, samples, and what the losses of the moving players are computed from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean

Condition = Mapping[str, Tensor]  # named tensors, a row per sample: label [N] int64, source [N, C, H, W], ...
UNCONDITIONAL: Condition = MappingProxyType({})
BATCH_COLUMNS = ("x", "y", "labelled_x", "labelled_y")  # the columns of every batch; each may be None


@dataclass(frozen=True)
class Batch:
    """A batch of N real samples and further named columns.

    The fields `x`, `y` and `labelled` hold the columns x, y, labelled_x and labelled_y; `extra_columns` holds all
    others, each with its own number of rows. Progress is counted in rows of x.
    """

    x: Tensor  # [N, *shape], as networks take it; None in a turn that only draws samples
    y: Tensor | None = None  # [N], int64: the class; None if the data have no classes
    labelled: tuple[Tensor, Tensor] | None = None  # (x, y) of the labelled batch
    extra_columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def columns(self) -> dict[str, Tensor | None]:
        """Return all columns by name."""
        x, y = self.labelled or (None, None)
        return {"x": self.x, "y": self.y, "labelled_x": x, "labelled_y": y, **self.extra_columns}

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return a batch with `function` applied to every column."""
        columns = {name: None if value is None else function(value) for name, value in self.columns().items()}
        return batch_from_columns(columns)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`: itself if it is there already, otherwise a copy."""
        return self if self.x.device == device else self.map(lambda column: column.to(device))


def batch_from_columns(columns: Mapping[str, Tensor | None]) -> Batch:
    """Return a batch with these columns."""
    extra = {name: value for name, value in columns.items() if value is not None}
    x, y = cast(Tensor, extra.pop("x", None)), extra.pop("y", None)
    labelled = extra.pop("labelled_x", None), extra.pop("labelled_y", None)
    return Batch(x, y, None if labelled[0] is None or labelled[1] is None else (labelled[0], labelled[1]), extra)


@dataclass(frozen=True)
class DiscriminatorOutput:
    """The output of a discriminator for N samples."""

    logits: Tensor  # [N, ...], unbounded; sigmoid(logits) = D(x) if D is a classifier
    features: Mapping[str, Tensor] = field(default_factory=dict)  # hidden layers, [N, ...]; the last is the default
    heads: Mapping[str, Tensor] = field(default_factory=dict)  # [N, K] each, by name


@dataclass
class Sample:
    """Samples x under a condition. The judge is evaluated once, at the first access to `output`."""

    x: Any  # [N, ...]; from an encoder, a mapping of latent parts [N, dim]
    condition: Condition  # the second argument of the judge
    judge: Callable[..., DiscriminatorOutput] | None
    needs_input_gradient: bool = False  # whether a term takes the slope of D at x; always true if x is such a leaf
    extra_output: Any = None  # what the network returned besides x: a posterior, log-probabilities, a style
    _output: DiscriminatorOutput | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """If a slope is taken at x, compute x and D in float32 or wider, whatever autocast is set to."""
        self.needs_input_gradient |= isinstance(self.x, Tensor) and self.x.requires_grad and self.x.is_leaf
        if self.needs_input_gradient and isinstance(self.x, Tensor):
            self.x = self.x.to(torch.promote_types(self.x.dtype, torch.float32))

    @property
    def output(self) -> DiscriminatorOutput:
        """The output of the judge. Raises Mistake if this side has no judge."""
        if self._output is None:
            if self.judge is None:
                raise Mistake("a term uses the logits of a side that has no judge: give it a judge in game.sides")
            with full_precision(self.x) if self.needs_input_gradient else nullcontext():
                self._output = self.judge(self.x, self.condition)
        return self._output

    @property
    def is_judged(self) -> bool:
        """Whether the judge has been evaluated."""
        return self._output is not None

    @property
    def logits(self) -> Tensor:
        """The logits of D in float32 or wider, because losses need more range than half precision has."""
        logits = self.output.logits
        return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()

    @property
    def features(self) -> Tensor:
        """The last named feature of the discriminator."""
        return list(self.output.features.values())[-1]


def needs_input_gradient(x: Any) -> bool:
    """Whether x, or one of its parts, is a leaf that requires grad, so that a term may take a slope there."""
    tensors = x.values() if isinstance(x, Mapping) else [x]
    return any(isinstance(tensor, Tensor) and tensor.requires_grad and tensor.is_leaf for tensor in tensors)


def _as_leaf(x: Any) -> Any:
    """Return x, or each of its parts, as a leaf that requires grad, in float32 or wider."""
    if isinstance(x, Mapping):
        return {name: _as_leaf(tensor) for name, tensor in x.items()}
    return x.to(torch.promote_types(x.dtype, torch.float32)).detach().requires_grad_()


def full_precision(x: Any) -> AbstractContextManager[Any]:
    """Return a context that disables autocast: squared slopes exceed the range of half precision."""
    first = next(iter(x.values())) if isinstance(x, Mapping) else x
    device = first.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


@dataclass
class Turn:
    """Everything the losses of a turn may use. A side, such as turn["fake"], is computed once, at first access.

    All players of one group of `game.order` share a turn. Samples keep a graph to the weights of their makers only if
    one of these is among the movers. With a `player`, real and fake are the sides that the `sees` of this player maps
    them to.
    """

    sides: Mapping[str, Any]  # game.side.Side by name
    networks: Mapping[str, Callable[..., Any]]  # of players and makers
    batch: Batch
    draws: Mapping[str, Mapping[str, Tensor]]  # by name: latent -> its parts, [N, dim] each
    movers: Collection[str] = ()  # names of the players that move
    dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of each side: game.side.dependencies
    slope_at: frozenset[str] = frozenset()  # sides, or "latent", at which a due term takes a slope
    player: Any = None  # the player whose losses are computed
    term_draw: Any = None  # the random numbers of the term that is evaluated, drawn before the turn
    prior: Any = None
    images: int = 0  # real images shown before this round
    samples: dict[str, Sample] = field(default_factory=dict)  # the sides made so far

    def replace(self, **fields: Any) -> Turn:
        """Return a turn with other fields and the same samples; dataclasses.replace takes four times as long."""
        turn = Turn.__new__(Turn)
        vars(turn).update(vars(self), **fields)
        return turn

    def __getitem__(self, name: str) -> Sample:
        """Return the side `name`. Raises Mistake if the game has no such side."""
        return self.side_sample(name if self.player is None else self.player.side_by_role.get(name, name))

    def player_tensor(self, name: str) -> Any:
        """Return `tensor(name)`, with real and fake replaced by the sides that the player's `sees` maps them to."""
        head, dot, tail = name.partition(".")
        return self.tensor((head if self.player is None else self.player.side_by_role.get(head, head)) + dot + tail)

    def repeated_tensor(self, name: str, x: Tensor) -> Any:
        """Return `player_tensor(name)` with a row per sample of x: N rows for k N samples are repeated k times."""
        return _repeat_rows(self.player_tensor(name), x.shape[0])

    @property
    def real(self) -> Sample:
        """turn["real"], for terms of the two-player game."""
        return self["real"]

    @property
    def fake(self) -> Sample:
        """turn["fake"]."""
        return self["fake"]

    def side_sample(self, side: str) -> Sample:
        """Return the samples of a side by its own name, whatever the `sees` of the player maps."""
        if side not in self.samples:
            self.samples[side] = self._compute_sample(side)
        return self.samples[side]

    def made_by_player(self, role: str) -> Sample:
        """Return the side of a role before makers, such as an augmentation, changed it: as a mover made it, if any."""
        name = role if self.player is None else self.player.side_by_role.get(role, role)
        return self.side_sample(side_of_player(self.sides, name, self.movers))

    def has_data_for(self, name: str) -> bool:
        """Whether the batch has the column that the side `name` starts from."""
        if name in self.samples:
            return True
        if name in self.sides:
            return self.has_data_for(self.sides[name].of)
        return self.batch_columns.get(name, self.batch.x) is not None

    @property
    def latent(self) -> Mapping[str, Tensor]:
        """The named parts of the latents, [N, dim] each."""
        return self.draws["latent"]

    def tensor(self, name: str) -> Any:
        """Return the tensor of a name: the x of a side, a draw, a part of either (latent.z), or a column of the batch.

        A draw, and the x of a side made by an encoder, are mappings of parts. None if the data lack the column.
        """
        head, _, part_name = name.partition(".")
        if head in self.sides:
            x = self.side_sample(head).x
        elif head in self.draws:
            x = self.draws[head]
        else:
            columns = self.batch_columns
            if name not in columns:
                known = [*self.sides, *self.draws, *columns]
                raise Mistake(f"there is no entry {name}.{did_you_mean(name, known)} There are: {', '.join(known)}")
            return columns[name]
        return x[part_name] if part_name else x

    def condition(self, names: Mapping[str, str], x: Any) -> Condition:
        """Return the tensors that `names` (condition -> name of a tensor) lists, with one row per sample of x.

        N rows for k N samples are repeated k times. Of k N latents for N samples, the first N are taken: a turn with
        `multiple` = k draws k N of them. Raises Mistake if the batch lacks a column.
        """
        first = x if isinstance(x, Tensor) else next(iter(x.values()))
        rows = first.shape[0] if names else 0  # not len(): it would fix the batch size of an exported program
        return {key: self._condition_tensor(key, name, rows) for key, name in names.items()}

    def _condition_tensor(self, key: str, name: str, rows: int) -> Any:
        if (value := self.tensor(name)) is None:
            raise Mistake(f"condition {key} is the column {name}, which these data lack. {self._known_columns()}")
        return _cut_or_repeat_rows(value, rows) if name.partition(".")[0] in self.draws else _repeat_rows(value, rows)

    def _known_columns(self) -> str:
        present = [name for name, column in self.batch_columns.items() if column is not None]
        return f"Columns of this batch: {', '.join(present)}"

    @cached_property
    def batch_columns(self) -> dict[str, Tensor | None]:
        """The columns of the batch."""
        return self.batch.columns()

    def maker_inputs(self, side: Any, maker: str) -> tuple[Any, Condition]:
        """Return the arguments that `maker` is called with when it makes a side (game.side.Side): x and condition."""
        x = self.tensor(side.of)
        condition = self.condition(side.condition, x)
        return self._apply_networks(side.by[: side.by.index(maker)], x, condition)[0], condition

    def _apply_networks(self, makers: Sequence[str], x: Any, condition: Condition) -> tuple[Any, Any]:
        """Apply the makers to x in order; return the samples and the extra output of the last maker that has one."""
        extra_output = None
        for maker in makers:
            output = self.networks[maker](x, condition)
            if not isinstance(output, tuple):
                x = output
            elif len(output) == 2:
                x, extra_output = output
            else:
                raise Mistake(
                    f"{maker} returns a tuple of {len(output)}: return the samples, or a pair of the samples and "
                    "their `extra_output`"
                )
        return x, extra_output

    def _compute_sample(self, name: str) -> Sample:
        if (side := self.sides.get(name)) is None:
            raise Mistake(
                f"there is no side {name}.{did_you_mean(name, self.sides)} This game has {', '.join(self.sides)}"
            )
        leaves = {*self.movers, *self.slope_at & {"latent"}}
        needs_grad = not self.dependencies.get(name, frozenset()).isdisjoint(leaves)
        if (x := self.tensor(side.of)) is None:
            raise Mistake(f"side {name} starts from {side.of}, which these data lack. {self._known_columns()}")
        condition, extra_output = self.condition(side.condition, x) if side.condition else UNCONDITIONAL, None
        if side.by:
            with torch.set_grad_enabled(needs_grad):
                x, extra_output = self._apply_networks(side.by, x, condition)
        takes_slope = name in self.slope_at
        tensors = x.values() if isinstance(x, Mapping) else [x]
        if takes_slope and not (needs_grad and any(tensor.requires_grad for tensor in tensors)):
            x = _as_leaf(x)  # so that a penalty needs no second pass through D
        judged_under = condition if side.judge_condition == side.condition else self.condition(side.judge_condition, x)
        judge = self.networks.get(side.judge) if side.judge else None
        return Sample(x, judged_under, judge, takes_slope, extra_output)


def side_of_player(sides: Mapping[str, Any], name: str, players: Collection[str]) -> str:
    """Return the side that one of `players` made and makers changed to the side `name`; `name` if there is none."""
    made = name
    while made in sides:
        if not frozenset(players).isdisjoint(sides[made].by):
            return made
        made = sides[made].of
    return name


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested mappings, sequences and dataclasses."""
    if isinstance(value, Tensor):
        yield value
        return
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for item in vars(value).values() if is_dataclass(value) else items:
        yield from tensors_in(item)


def _cut_or_repeat_rows(value: Any, rows: int) -> Any:
    """Return the first `rows` rows of a draw if it has more, otherwise repeat it."""
    if isinstance(value, Mapping):
        return {name: _cut_or_repeat_rows(tensor, rows) for name, tensor in value.items()}
    return value[:rows] if value.shape[0] > rows else _repeat_rows(value, rows)


def _repeat_rows(value: Any, rows: int) -> Any:
    """Repeat a tensor of N rows k times if `rows` = k N; return any other value, and None, unchanged."""
    if not isinstance(value, Tensor) or (n := value.shape[0]) == rows or not n or rows % n:
        return value
    return value.repeat(rows // n, *(1,) * (value.ndim - 1))
