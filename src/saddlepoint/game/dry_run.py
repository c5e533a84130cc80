"""A trial round on copies of the networks, before training: finds parameters without a gradient and invalid slopes.

The game does not change: networks and terms are copied, and the states of streams and global generators are restored.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake, describe_type_of, format_source_location
from saddlepoint.game.average import BatchNorm
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.game.side import LATENT, check_entries
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.schedule.schedule import has_schedule
from saddlepoint.stream import preserve_random_state
from saddlepoint.turn import Batch, Condition, Turn

ROWS = 8  # rows of the batch: enough for a layer that compares samples, and cheap for a large network
LISTED_PARAMETERS = 4  # parameters that a message lists by name


def dry_run(game: Game, batch: Batch) -> list[str]:
    """Evaluate every player's losses on copies, on the first rows of `batch`; return a line per warning.

    Raises Mistake if the losses of a player leave trainable parameters without a gradient (if a term has the constant
    weight 0, only if they leave all of them), and if a term takes the slope of D per sample although D's logit of a
    sample depends on the rest of the batch, as with batch norm. This is a warning if all layers that compare samples
    have `slope_of_sum = True`: the penalty is then meant to take the slope of the sum of logits.
    """
    warnings: list[str] = []
    offered: set[str] = set()
    used: set[str] = set()
    check_entries(game.sides, list(batch.columns()), list(game.priors))
    with temporary_copy(game) as trial, torch.enable_grad(), ranks.local():
        trial.train()
        rows = batch.map(lambda column: column[:ROWS])
        for name in trial.players:
            player = trial.players[name]
            ((turn, (draws,)),) = trial.build_turns(rows, [name])
            values = {f.name: getattr(turn, f.name) for f in fields(turn)}
            turn = _RecordingTurn(**{**values, "player": player, "used": used})
            for term_name, term in player.terms.items():
                if _can_have_weight(term):
                    for role in {*term.slope_at, *({"real"} if term.needs_sample_slope else ())} - {LATENT}:
                        side = player.side_by_role.get(role, role)
                        warnings += _check_samples_independent(trial, f"regularizer.{name}.{term_name}", side, turn)
            _check_gradients(name, player, turn, draws)
            sides = [game.sides[side] for side in turn.samples]
            offered |= {entry for side in sides for entry in (*side.condition, *side.judge_condition)}
    return warnings + [
        f"condition {name}: no network and no term uses it. Give a network a layer that does, for example "
        f"'architecture.generator.condition={{{name}: <width>}}' (docs/extending.md), or remove it from game.sides"
        for name in sorted(offered - used)
    ]


class _RecordingCondition(dict[str, Any]):
    """A condition that records which entries are read, by name or by copying all of them."""

    def __init__(self, condition: Mapping[str, Any], used: set[str]) -> None:
        super().__init__(condition)
        self.used = used

    def __getitem__(self, name: str) -> Any:
        self.used.add(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:  # overridden so that dict(condition) and {**condition} use __getitem__
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        self.used.add(name)
        return super().get(name, default)

    def values(self) -> Any:
        return [self[name] for name in self]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


@dataclass
class _RecordingTurn(Turn):
    """A turn whose conditions record which entries are read."""

    used: set[str] = field(default_factory=set)

    def condition(self, names: Mapping[str, str], x: Any) -> Condition:
        return _RecordingCondition(super().condition(names, x), self.used)


def _check_gradients(name: str, player: Player, turn: _RecordingTurn, draws: Mapping[str, Any]) -> None:
    """Raise Mistake if no loss of a player reaches one of its trainable parameters, and list them."""
    dormant = {id(p) for m in player.network.modules() if getattr(m, "dormant", False) for p in m.parameters()}
    trainable = {key: p for key, p in player.network.named_parameters() if p.requires_grad and id(p) not in dormant}
    terms = {key: term for key, term in player.terms.items() if _can_have_weight(term)}
    losses = [
        _check_scalar(f"regularizer.{name}.{key}", term(replace(turn, term_draw=draws.get(key))), term)
        for key, term in terms.items()
    ]
    has_objective = player.objective is not None and _can_have_weight(player)
    if has_objective:
        adversarial = player.adversarial_losses(turn, 1.0).values()
        losses += [_check_scalar(f"objective.{name}", loss, player.objective) for loss in adversarial]
    # a weight of 0 is a control: its term may be the one that reaches the missing parameters
    has_control = len(terms) < len(player.terms) or (player.objective is not None and not has_objective)
    if not losses or not trainable:
        return
    loss = cast(Tensor, sum(losses))
    gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True) if loss.requires_grad else ()
    pairs = zip(trainable, gradients or [None] * len(trainable), strict=True)
    missing = [key for key, gradient in pairs if gradient is None]
    if not missing or (has_control and len(missing) < len(trainable)):
        return
    more = f" and {len(missing) - LISTED_PARAMETERS} more" if len(missing) > LISTED_PARAMETERS else ""
    raise Mistake(
        f"no loss of {name} reaches {'any' if len(missing) == len(trainable) else len(missing)} of its "
        f"{len(trainable)} parameters, so they would not be trained: {', '.join(missing[:LISTED_PARAMETERS])}{more}. "
        + (
            _unread_condition(name, turn)
            or "Look for a detach() or an unused layer, or freeze them: requires_grad_(False)"
        )
    )


def _unread_condition(name: str, turn: "_RecordingTurn") -> str | None:
    """Return what to set if a judge reads no condition that the player makes, such as a code; else None."""
    for side in turn.sides.values():
        for key, entry in side.judge_condition.items():
            head = entry.partition(".")[0]
            if key not in turn.used and name in turn.dependencies.get(head, ()):
                size = turn.tensor(entry)[0].numel()
                return f"{side.judge} does not read {key}: set 'architecture.{side.judge}.condition={{{key}: {size}}}'"
    return None


def _check_scalar(path: str, loss: object, component: object) -> Tensor:
    """Return the loss. Raises Mistake if it is not a scalar tensor."""
    if not isinstance(loss, Tensor) or loss.ndim:
        location = format_source_location(component)
        raise Mistake(f"{path} returns {describe_type_of(loss)} instead of a scalar tensor: take the mean{location}")
    return loss


def _check_samples_independent(game: Game, term: str, side: str, turn: Turn) -> list[str]:
    """Raise Mistake, or return a warning, if the logit of the first sample of a side depends on another sample."""
    sample = turn.side_sample(side)
    name = game.sides[side].judge
    if name is None or not isinstance(sample.x, Tensor):
        return []
    network = game.player(name).network
    x = sample.x.detach().clone().requires_grad_()
    logits = network(x, sample.condition).logits
    if len(x) < 2 or len(logits) != len(x) or not logits.requires_grad:
        return []
    (slope,) = torch.autograd.grad(logits[0].sum(), x, allow_unused=True)
    if slope is None or not slope[1:].any():
        return []
    layers = [(p, m) for p, m in network.named_modules() if isinstance(m, BatchNorm) or getattr(m, "coupled", 0)]
    layer = f" ({type(layers[0][1]).__name__} at {layers[0][0]})" if layers else ""
    if layers and all(getattr(module, "slope_of_sum", False) for _, module in layers):
        return [f"{term} takes the slope of the sum of the logits of a batch, which depend on one another{layer}"]
    has_norm = any(isinstance(module, BatchNorm) for _, module in layers)
    remedy = f"Remove it with architecture.{name}.norm=null" if has_norm else "Remove the layer that compares samples"
    raise Mistake(
        f"{term} takes the slope of the {name} at each sample, but its logit of a sample depends on the rest of the "
        f"batch{layer}, so the penalty would be wrong. {remedy}, or drop the penalty"
    )


def _can_have_weight(term: Regularizer | Player) -> bool:
    """Whether a term, or the objective of a player, can have a weight other than 0."""
    return has_schedule(term.weight) or term.weight != 0


@contextmanager
def temporary_copy(game: Game) -> Iterator[Game]:
    """The game with copies of its players and makers; streams and torch's generators are restored on exit."""
    states = {name: stream.state for name, stream in game.streams.items()}
    trial = copy.copy(game)
    trial._modules = dict(game._modules)
    trial.register_players(copy.deepcopy(game.players), copy.deepcopy(game.makers))
    trial.compiled_networks = {}
    with preserve_random_state():
        yield trial
    for name, state in states.items():
        game.streams[name].state = state
