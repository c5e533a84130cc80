"""One round on copies, before anything is written: what would train nothing, or train on a wrong slope, is refused.

Nothing of the game changes: networks and terms are copied, streams and torch's global generators are put back.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake, describe_value, source_location
from saddlepoint.game.average import BatchNorm
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.game.side import LATENT, check_entries
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.schedule.schedule import has_schedule
from saddlepoint.stream import preserve_random_state
from saddlepoint.turn import Batch, Condition, Turn

ROWS = 8  # of the batch: enough for a layer that compares samples, and cheap for a large network
NAMED = 4  # parameters that a line names


def dry_run(game: Game, batch: Batch) -> list[str]:
    """Play every player's turn on copies, on the first rows of `batch`; what is doubtful, a line each.

    Raises Mistake where a loss of a player does not reach parameters of its network (frozen ones excepted; those whose
    terms have the constant weight 0 too), and where a term takes the slope of D at each sample though D's logit of one
    sample depends on the others of its batch, as it does behind batch norm.
    """
    offered: set[str] = set()
    used: set[str] = set()
    check_entries(game.sides, list(batch.columns()), list(game.priors))
    with _copied(game) as trial, torch.enable_grad(), ranks.local():
        trial.train()
        rows = batch.map(lambda column: column[:ROWS])
        for name in trial.players:
            player = trial.player(name)
            ((turn, (drawn,)),) = trial.build_turns(rows, [name])
            own = {one.name: getattr(turn, one.name) for one in fields(turn)}
            turn = _Watched(**{**own, "player": player, "used": used})
            for term_name, term in player.terms.items():
                if _counts(term):
                    for side in {*term.slope_at, *({"real"} if term.needs_sample_slope else ())} - {LATENT}:
                        _refuse_coupled(
                            trial, f"regularizer.{name}.{term_name}", player.side_by_role.get(side, side), turn
                        )
            _refuse_unreached(name, player, turn, drawn)
            sides = [game.sides[side] for side in turn.samples]
            offered |= {entry for side in sides for entry in (*side.condition, *side.judge_condition)}
    return [
        f"condition {name}: no network and no term uses it. Give a network a layer that does, for one by "
        f"'architecture.generator.condition={{{name}: <width>}}' (docs/extending.md), or take it out of game.sides"
        for name in sorted(offered - used)
    ]


class _Read(dict[str, Any]):
    """A condition that notes which of its entries are read: by name, or as a whole when it is copied."""

    def __init__(self, condition: Mapping[str, Any], used: set[str]) -> None:
        super().__init__(condition)
        self.used = used

    def __getitem__(self, name: str) -> Any:
        self.used.add(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:  # with one of its own, dict(condition) and {**condition} come by __getitem__
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        self.used.add(name)
        return super().get(name, default)

    def values(self) -> Any:
        return [self[name] for name in self]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


@dataclass
class _Watched(Turn):
    """A turn whose conditions note what is read of them."""

    used: set[str] = field(default_factory=set)

    def condition(self, names: Mapping[str, str], x: Any) -> Condition:
        return _Read(super().condition(names, x), self.used)


def _refuse_unreached(name: str, player: Player, turn: Turn, drawn: Mapping[str, Any]) -> None:
    """Raise Mistake where no loss of a player reaches one of its parameters, by name."""
    dormant = {id(p) for m in player.network.modules() if getattr(m, "dormant", False) for p in m.parameters()}
    moved = {place: p for place, p in player.network.named_parameters() if p.requires_grad and id(p) not in dormant}
    terms = {own: term for own, term in player.terms.items() if _counts(term)}
    losses = [
        _scalar(f"regularizer.{name}.{own}", term(replace(turn, term_draw=drawn.get(own))), term)
        for own, term in terms.items()
    ]
    objective = player.objective is not None and _counts(player)
    if objective:
        adversarial = player.adversarial_losses(turn, 1.0).values()
        losses += [_scalar(f"objective.{name}", loss, player.objective) for loss in adversarial]
    silent = len(terms) < len(player.terms) or (player.objective is not None and not objective)  # weight 0: a control
    if not losses or not moved:
        return
    total = cast(Tensor, sum(losses))
    reached = torch.autograd.grad(total, list(moved.values()), allow_unused=True) if total.requires_grad else ()
    missing = [place for place, gradient in zip(moved, reached or [None] * len(moved), strict=True) if gradient is None]
    if not missing or (silent and len(missing) < len(moved)):
        return
    places = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    raise Mistake(
        f"no loss of {name} reaches {'any' if len(missing) == len(moved) else len(missing)} of its {len(moved)} "
        f"parameters, so they would never move: {places}. Look for a detach() or a layer that is not used, or freeze "
        "them: requires_grad_(False)"
    )


def _scalar(path: str, loss: object, piece: object) -> Tensor:
    """The loss.  Raises Mistake where it is no scalar tensor."""
    if not isinstance(loss, Tensor) or loss.ndim:
        raise Mistake(
            f"{path} gives {describe_value(loss)}, and it is to give a scalar tensor: take the mean{source_location(piece)}"
        )
    return loss


def _refuse_coupled(game: Game, term: str, side: str, turn: Turn) -> None:
    """Raise Mistake where the logit of the first sample of a side depends on another sample."""
    sample = turn.side_sample(side)
    name = game.sides[side].judge
    if name is None or not isinstance(sample.x, Tensor):
        return
    network = game.player(name).network
    x = sample.x.detach().clone().requires_grad_()
    logits = network(x, sample.condition).logits
    if len(x) < 2 or len(logits) != len(x) or not logits.requires_grad:
        return
    (slope,) = torch.autograd.grad(logits[0].sum(), x, allow_unused=True)
    if slope is None or not slope[1:].any():
        return
    layers = [(p, m) for p, m in network.named_modules() if isinstance(m, BatchNorm) or getattr(m, "coupled", 0)]
    where = f" ({type(layers[0][1]).__name__} at {layers[0][0]})" if layers else ""
    norm = any(isinstance(layer, BatchNorm) for _, layer in layers)
    mend = f"architecture.{name}.norm=null leaves it out" if norm else "Leave out the layer that compares samples"
    raise Mistake(
        f"{term} takes the slope of the {name} at each sample, and its logit of a sample depends on the "
        f"others of its batch{where}, so the penalty would be wrong. {mend}, or drop the penalty"
    )


def _counts(term: Regularizer | Player) -> bool:
    """Whether a term, or a player's objective, will ever count: its weight is not the constant 0."""
    return has_schedule(term.weight) or term.weight != 0


@contextmanager
def _copied(game: Game) -> Iterator[Game]:
    """The game with copies of its players; its streams and torch's generators end as they began."""
    states = {name: stream.state for name, stream in game.streams.items()}
    trial = copy.copy(game)
    trial._modules = dict(game._modules)
    trial.register_players(copy.deepcopy(game.players), copy.deepcopy(game.makers))
    trial.compiled_networks = {}
    with preserve_random_state():
        yield trial
    for name, state in states.items():
        game.streams[name].state = state
