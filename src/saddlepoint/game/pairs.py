"""Pairs of a game from image to image: the input of each sample, and the truth that it should be equal to.

A game has pairs if its samples are computed from rows of a split (game.conditions=split:<name>), and not from their
labels alone. The truth of a sample is the column of its row that its judge sees as real, x in most games; its input is
the condition `source`, or `known`, or what its side starts from. If the rows of the split are not paired, there is no
truth, and the class of a sample is that of its input, column source_y or y.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saddlepoint.game.lineage import condition_columns
from saddlepoint.game.sampling import build_sampling_turn, draw_condition
from saddlepoint.game.side import LATENT
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, Condition, Turn

INPUTS = ("source", "known")  # condition entries, in this order
MASK = "mask"
NOISE = "noise"  # condition of an encoder that samples a posterior
X = "x"  # the column of reals


class Pair(NamedTuple):
    """N pairs, as floats."""

    target: Tensor | None  # [N, C, H, W]; None if the split has no pairs
    source: Tensor | None = None  # [N, c, h, w]; None if samples start from latents alone, or a player makes it
    mask: Tensor | None = None  # [N, 1, H, W], above 0 where samples differ from what is known; None: everywhere
    y: Tensor | None = None  # int64 [N], the classes of the targets, or without targets of the sources


def has_pairs(game: Any) -> bool:
    """Whether samples of a game have a truth."""
    if game.conditions.split_name is None:
        return False
    return not {*condition_columns(game).values()} <= {"y", *game.conditions.classes}


def truth_column(game: Any) -> str:
    """The column that samples should look like: that of the reals of their judge; x if these are no column."""
    judge = game.sides[game.samples].judge
    entry = X if judge is None else game.players[judge].adversarial_terms[0].sides.get("real", "real")
    if entry not in game.sides:
        return X
    while entry in game.sides:
        entry = game.sides[entry].of
    return X if entry.partition(".")[0] in game.priors else entry


def translated_sides(game: Any) -> list[str]:
    """The side that samples are drawn from, and the others that a player translates from a column for a judge.

    CycleGAN has two, one per direction.
    """
    translated = [game.samples]
    for name, side in game.sides.items():
        is_column = side.of not in game.sides and side.of.partition(".")[0] not in game.priors
        if name != game.samples and is_column and side.judge and side.by and {*side.by} <= {*game.players}:
            translated.append(name)
    return translated


@contextmanager
def sampled_side(game: Any, side: str) -> Iterator[None]:
    """Draw samples from `side` inside the context."""
    before = game.samples
    game.samples = side
    try:
        yield
    finally:
        game.samples = before


def draw_pair(game: Any, n: int, stream: Stream) -> tuple[Condition, Pair]:
    """Return the condition of the next n samples, as `draw_condition` does, and their pairs."""
    rows = game.conditions.draw_rows(n, stream)
    condition = _condition_of_rows(game, rows, stream)
    pair = _pair(game, condition, rows)
    if game.conditions.load_dataset().split(game.conditions.split_name).paired:
        return condition, pair
    column = "source_y" if truth_column(game) == X else "y"
    return condition, pair._replace(target=None, y=rows.columns().get(column))


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

    return Pair(rows.columns().get(truth_column(game)), tensor(*INPUTS), tensor(MASK), rows.y)


def evaluated_networks(game: Any, average: bool = True) -> dict[str, Any]:
    """Return the networks of all players, averaged ones where there is an average, and the makers, by name."""
    players = {name: game.player(name) for name in game.players}
    networks = {name: p.average.network if average and p.average else p.network for name, p in players.items()}
    return {**networks, **game.makers}


def players_of_side(game: Any, side: str) -> tuple[str, str]:
    """Return the players that a side is made by, joined by +, and their weights: averaged, raw or partly averaged.

    The weights are those of `evaluated_networks`, for the contract of a score of the side.
    """
    names = sorted(game.dependencies[side] & {*game.players})
    kinds = {game.player(name).average is not None for name in names}
    return "+".join(names), "partly averaged" if len(kinds) > 1 else "averaged" if kinds == {True} else "raw"


def rows_of_side(game: Any, side: str, split: Any) -> int:
    """Return the number of different rows of a split that a side is made from: that of its columns, the fewest."""
    columns = game.dependencies[side] - {*game.players, *game.makers, *game.priors}
    return min((split.column_rows(column) for column in columns), default=len(split))


def turn_of_rows(game: Any, rows: Batch, stream: Stream, networks: Mapping[str, Any], codes: str = "mean") -> Turn:
    """Return a turn without movers on rows of a split, for sides such as a reconstruction.

    codes   "mean": encoders return the mean of their posterior, by noise 0; "sample": a sample of it
    Networks are used in their current mode.
    """
    draws = {name: prior.sample(len(rows), stream.child(f"{LATENT}/{name}")) for name, prior in game.priors.items()}
    if codes == "mean":
        for draw in noise_draws(game):
            draws[draw] = {part: torch.zeros_like(z) for part, z in draws[draw].items()}
    return Turn(game.sides, networks, rows.to(game.device), draws, (), game.dependencies, images=game.images)


def noise_draws(game: Any) -> set[str]:
    """The named draws from which encoders sample their posteriors: the condition `noise` (`layer.posterior`)."""
    entries = [side.condition[NOISE].partition(".")[0] for side in game.sides.values() if NOISE in side.condition]
    return {entry for entry in entries if entry in game.priors and entry != LATENT}


class PairSource:
    """Pairs of any rows of a data set, for anchors: what a game would compute samples from, and their truth.

    split   the split whose rows samples are computed from
    has_training_pairs  whether the training split is paired too
    region  "mask" if samples differ from the known image inside a mask only, else "image"
    """

    def __init__(self, game: Any, data: Any) -> None:
        self.game, self.data = game, data
        self.split = data.split(game.conditions.split_name)
        self.has_training_pairs = data.split("train").paired
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
        unpaired = {} if self.has_training_pairs else {"training": "unpaired"}
        return {"split": self.split.name, "data": self.split.sha256, "first": content.hexdigest(), **unpaired}
