"""Pairs of a game from image to image: the input of each sample, and the truth that it should be equal to.

A game has pairs if its samples are computed from rows of a split (game.conditions=split:<name>), and not from their
labels alone. The truth of a sample is the column x of its row; its input is the condition `source`, or `known`, or what
its side starts from.
"""

import hashlib
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saddlepoint.game.lineage import condition_columns
from saddlepoint.game.sampling import build_sampling_turn, draw_condition
from saddlepoint.game.side import LATENT
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, Condition

INPUTS = ("source", "known")  # condition entries, in this order
MASK = "mask"


class Pair(NamedTuple):
    """N pairs, as floats."""

    target: Tensor  # [N, C, H, W]
    source: Tensor | None = None  # [N, c, h, w]; None if samples start from latents alone, or a player makes it
    mask: Tensor | None = None  # [N, 1, H, W], above 0 where samples differ from what is known; None: everywhere
    y: Tensor | None = None  # int64 [N], the classes of the targets


def has_pairs(game: Any) -> bool:
    """Whether samples of a game have a truth."""
    if game.conditions.split_name is None:
        return False
    return not {*condition_columns(game).values()} <= {"y", *game.conditions.classes}


def draw_pair(game: Any, n: int, stream: Stream) -> tuple[Condition, Pair]:
    """Return the condition of the next n samples, as `draw_condition` does, and their pairs."""
    rows = game.conditions.draw_rows(n, stream)
    condition = _condition_of_rows(game, rows, stream)
    return condition, _pair(game, condition, rows)


def _condition_of_rows(game: Any, rows: Batch, stream: Stream) -> Condition:
    columns = rows.to(game.device).columns()
    given = {name: columns[key] for name, key in condition_columns(game).items() if columns.get(key) is not None}
    return draw_condition(game, len(rows), stream, given)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def _pair(game: Any, condition: Condition, rows: Batch) -> Pair:
    """Return the pairs of rows whose condition is given; makers compute the source, not players."""
    side = game.sides[game.samples]
    turn = build_sampling_turn(game, {}, condition, game.networks())

    def tensor(*names: str) -> Tensor | None:
        entry = next((side.condition[name] for name in names if name in side.condition), None)
        entry = side.of if entry is None and names == INPUTS and side.of != LATENT else entry
        needed = game.dependencies.get(str(entry).partition(".")[0], frozenset())
        return None if entry is None or not needed.isdisjoint(game.players) else turn.tensor(entry).cpu()

    return Pair(rows.x, tensor(*INPUTS), tensor(MASK), rows.y)


class PairSource:
    """Pairs of any rows of a data set, for anchors: what a game would compute samples from, and their truth.

    split   the split whose rows samples are computed from
    region  "mask" if samples differ from the known image inside a mask only, else "image"
    """

    def __init__(self, game: Any, data: Any) -> None:
        self.game, self.data = game, data
        self.split = data.split(game.conditions.split_name)
        self.region = "mask" if MASK in game.sides[game.samples].condition else "image"

    def __call__(self, split: str, index: Tensor) -> Pair:
        """Return the pairs of the rows at `index`, int64 [n]; random masks are the same for the same index."""
        rows = self.data.batch_at(split, index)
        stream = Stream(0, f"pairs/{split}/{int(index[0]) if len(index) else 0}", device=self.game.device)
        return _pair(self.game, _condition_of_rows(self.game, rows, stream), rows)

    def describe(self) -> dict[str, Any]:
        """Return what anchors depend on: the split, and a hash of its first 64 inputs, truths and masks."""
        content = hashlib.sha256()
        first = self(self.split.name, torch.arange(min(64, len(self.split))))
        for tensor in (first.target, first.source, first.mask):
            content.update(b"none" if tensor is None else f"{list(tensor.shape)}".encode() + tensor.numpy().tobytes())
        return {"split": self.split.name, "data": self.split.sha256, "first": content.hexdigest()}
