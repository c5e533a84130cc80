"""A player: a network, the losses it minimises, and its optimizer."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from saddlepoint.error import Mistake
from saddlepoint.game.average import Average
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.schedule.schedule import has_schedule, value_at
from saddlepoint.stream import Stream
from saddlepoint.turn import Turn

ROLES = ("real", "fake")  # the arguments an objective may have, in the order in which D judges them


class Player(nn.Module):
    """A network, its optimizer and its loss:  weight * objective + sum of weight * every * regularizer.

    objective     pure function of logits, with arguments real and fake, or one of them; None: no such term
    sees          the sides used as real and fake, {real: real_b, fake: fake_b}; None: the sides of these names. A list
                  of such maps with weights, [{}, {fake: reconstruction, weight: 0.5}], gives the weighted sum of the
                  objective over all of them
    optimizer     called with the parameters; its settings may be schedules
    every         the player takes a step in every `every`-th round
    multiple      fakes per real in its turns
    accumulate    chunks into which a round's batch is split; their gradients are accumulated for one step
    clip          maximum norm of the gradient over all parameters; None: no clipping
    average       called with the network, returns its moving average; None: no average
    Raises ValueError for an invalid setting.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        objective: Callable[..., Tensor] | None,
        regularizers: Mapping[str, Regularizer] | None = None,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        multiple: int = 1,
        accumulate: int = 1,
        clip: float | None = None,
        average: Callable[[nn.Module], Average] | None = None,
        sees: Mapping[str, str] | Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"every": every, "multiple": multiple, "accumulate": accumulate}.items():
            if value < 1 or value != int(value):
                raise ValueError(f"{name}={value} must be an integer of at least 1")
        if clip is not None and clip <= 0:
            raise ValueError(f"clip={clip} must be above 0 (null: no clipping)")
        self.network, self.objective = network, objective
        self.adversarial_terms = _parse_sees(objective, sees)
        self.adversarial_keys = _adversarial_keys(self.adversarial_terms)
        entries = [sees] if isinstance(sees, Mapping) else list(sees or ())
        first_entry = entries[0] if entries else {}  # regularizers use the sides of the first entry
        self.side_by_role = {role: str(first_entry[role]) for role in ROLES if role in first_entry}
        self.weight, self.every, self.multiple, self.accumulate = weight, every, multiple, accumulate
        self.clip = clip
        self.gradient_norm: Tensor | None = None  # before clipping; None without clipping
        self.regularizers = nn.ModuleDict(regularizers or {})
        for name, term in self.terms.items():
            if term.coupled and accumulate > 1:
                raise ValueError(
                    f"{name} depends on the whole batch, and accumulate={accumulate} would change it: set 1"
                )
        self.average = average(network) if average is not None else None
        self.scheduled_settings = {
            name: value
            for name, value in getattr(optimizer, "keywords", {}).items()
            if not isinstance(value, int | float | bool | None) and has_schedule(value)
        }
        self._optimizer = optimizer
        vars(self).update(self._modules)  # an attribute is found at once, in nn.Module only after a slow search

    @property
    def terms(self) -> dict[str, Regularizer]:
        """The regularizers by name."""
        return cast("dict[str, Regularizer]", dict(self.regularizers.items()))

    def build_optimizer(self) -> Optimizer:
        """Return a new optimizer for the parameters of the network, with schedules at 0 images."""
        start = {name: value_at(value, 0) for name, value in self.scheduled_settings.items()}
        return self._optimizer([p for p in self.network.parameters() if p.requires_grad], **start)

    def due_terms(self, turn_number: int) -> dict[str, Regularizer]:
        """Return the regularizers that are evaluated in turn `turn_number` of this player, from 0."""
        terms = cast("dict[str, Regularizer]", self.regularizers)
        return {name: term for name, term in terms.items() if turn_number % term.every == 0}

    def losses(
        self, turn: Turn, turn_number: int, draws: Mapping[str, Any] = MappingProxyType({})
    ) -> dict[str, Tensor]:
        """Return the weighted terms of a turn by name; their sum is the loss. `draws` are from `draw_for_terms`.

        The adversarial terms come first, so that D is evaluated on reals and then on fakes independently of the other
        terms. A term of weight 0 is not evaluated: it would draw random numbers (noise layers) and change all later
        ones, but the game must be bit for bit that without the term.
        """
        losses: dict[str, Tensor] = {}
        if self.objective is not None:
            weight, keys = value_at(self.weight, turn.images), self.adversarial_keys
            losses = self.adversarial_losses(turn, weight) if weight != 0 else {key: _zero(turn) for key in keys}
        for name, term in self.due_terms(turn_number).items() if self.regularizers else ():
            weight = value_at(term.weight, turn.images)
            term_turn = turn.replace(term_draw=draws[name]) if name in draws else turn
            losses[name] = _weighted(weight * term.every, term(term_turn)) if weight != 0 else _zero(turn)
        return losses

    def adversarial_losses(self, turn: Turn, weight: float) -> dict[str, Tensor]:
        """Return weight * objective for each entry of `sees`, by name. All sides are made before any is judged.

        Raises Mistake if the logits differ in more than the number of samples: [N] with [N, 1] would broadcast to all
        pairs.
        """
        assert self.objective is not None
        samples = [{role: turn.side_sample(side) for role, side in t.sides.items()} for t in self.adversarial_terms]
        losses = {}
        for key, term, sample_by_role in zip(self.adversarial_keys, self.adversarial_terms, samples, strict=True):
            logits = {role: sample.logits for role, sample in sample_by_role.items()}
            if len(logits) > 1:
                _check_shapes(logits)
            losses[key] = _weighted(weight * term.weight, self.objective(**logits))
        return losses

    def draw_for_terms(self, turn_number: int, images: int, n: int, stream: Stream) -> dict[str, Any]:
        """Return the random numbers of the terms due in turn `turn_number`, by term, drawn before the turn."""
        due = self.due_terms(turn_number).items()
        return {
            name: term.draw(n, stream) for name, term in due if term.needs_draw and value_at(term.weight, images) != 0
        }

    def apply_schedules(self, optimizer: Optimizer, images: int) -> None:
        """Set the scheduled settings of `optimizer` to their values after `images` images."""
        for name, value in self.scheduled_settings.items():
            for group in optimizer.param_groups:
                group[name] = value_at(value, images)


@dataclass(frozen=True)
class AdversarialTerm:
    """The sides that an objective is evaluated on, by argument name, and the weight of the result."""

    sides: Mapping[str, str]
    weight: float = 1.0


def _parse_sees(objective: Callable[..., Tensor] | None, sees: Any) -> list[AdversarialTerm]:
    """Return a term per entry of `sees`; an argument that it leaves out is the side of the same name.

    Raises ValueError if the objective needs arguments other than real and fake, or if an entry has another name.
    """
    arguments = inspect.signature(objective).parameters if objective is not None else {}
    unknown = [n for n, p in arguments.items() if n not in ROLES and p.default is p.empty]
    if unknown:
        raise ValueError(f"an objective takes real and fake; this one also needs {', '.join(unknown)}")
    roles = [role for role in ROLES if role in arguments]
    terms = []
    for entry in [sees or {}] if sees is None or isinstance(sees, Mapping) else sees:
        if unknown := [key for key in entry if key not in (*ROLES, "weight")]:
            raise ValueError(f"sees maps real and fake to sides, not {', '.join(map(str, unknown))}")
        sides = {role: str(entry.get(role, role)) for role in (roles or [key for key in ROLES if key in entry])}
        terms.append(AdversarialTerm(sides, float(entry.get("weight", 1.0))))
    if not terms:
        raise ValueError("sees=[] has no sides: leave it out, or name the sides, {real: ..., fake: ...}")
    return terms


def _adversarial_keys(terms: Sequence[AdversarialTerm]) -> list[str]:
    """Return a name per term: adversarial, or of several adversarial/<fake side>, or if ambiguous /<all sides>."""
    if len(terms) == 1:
        return ["adversarial"]
    sides = [list(term.sides.values()) for term in terms]
    names = [term_sides[-1] if term_sides else "" for term_sides in sides]
    if len(set(names)) < len(names):
        names = ["+".join(term_sides) for term_sides in sides]
    if len(set(names)) < len(names):
        raise ValueError(f"sees has the same sides twice, {names}: use one entry with the sum of the weights")
    return [f"adversarial/{name}" for name in names]


def _weighted(weight: float, loss: Tensor) -> Tensor:
    """Return weight * loss; the loss itself if the weight is 1, since each node of the graph takes time."""
    return loss if weight == 1 else weight * loss


def _zero(turn: Turn) -> Tensor:
    """Return a loss of 0: a leaf, so that backward() works and gives no weight a gradient."""
    return torch.zeros((), device=turn.batch.x.device, requires_grad=True)


def _check_shapes(logits: Mapping[str, Tensor]) -> None:
    if len({value.shape[1:] for value in logits.values()}) > 1:
        shapes = " and ".join(f"{list(value.shape)} for {role}" for role, value in logits.items())
        raise Mistake(
            f"the discriminator's logits have shape {shapes}: they would broadcast to all pairs. Return the same shape "
            "for every side, such as [N]"
        )
