"""A network, what it minimises, and how it moves."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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

ROLES = ("real", "fake")  # what an objective may look at, in the order in which D sees them


class Player(nn.Module):
    """A column of the table: it descends  weight * objective + sum of weight * every * regularizer.

    objective     pure function of the logits that its arguments name (real, fake); None: no such term
    sees          the sides that real and fake are, {real: real_b, fake: fake_b}; None: those of the same names; a list
                  of such maps with weights, [{}, {fake: reconstruction, weight: 0.5}]: the objective is evaluated for
                  each, and the weighted sum descended
    optimizer     takes the parameters; its settings may hold schedules
    every         moves in each every-th round
    multiple      fakes per real on its turn
    accumulate    parts into which a round's batch is split before one step
    clip          largest norm of its gradient, all parameters together; None: any
    average       takes the network and gives its moving average; None: none is kept
    Raises ValueError where a setting makes no sense.
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
                raise ValueError(f"{name}={value} must be a whole number of at least 1")
        if clip is not None and clip <= 0:
            raise ValueError(f"clip={clip} must be above 0 (null: no clipping)")
        self.network, self.objective, self.adversarial_terms = network, objective, _looks(objective, sees)
        self.adversarial_keys = _keys(self.adversarial_terms)
        first = (sees if isinstance(sees, Mapping) else [*(sees or ()), {}][0]) or {}
        self.side_by_role = {
            role: str(first[role]) for role in ROLES if role in first
        }  # what its terms' real and fake are
        self.weight, self.every, self.multiple, self.accumulate = weight, every, multiple, accumulate
        self.clip = clip
        self.gradient_norm: Tensor | None = None  # before clipping, where it clips
        self.regularizers = nn.ModuleDict(regularizers or {})
        for name, term in self.terms.items():
            if term.coupled and accumulate > 1:
                raise ValueError(f"{name} looks at a batch as a whole: accumulate={accumulate} would change it; set 1")
        self.average = average(network) if average is not None else None
        self.scheduled_settings = {
            name: value
            for name, value in getattr(optimizer, "keywords", {}).items()
            if not isinstance(value, int | float | bool | None) and has_schedule(value)
        }
        self._optimizer = optimizer

    @property
    def terms(self) -> dict[str, Regularizer]:
        """The regularizers by name."""
        return cast("dict[str, Regularizer]", dict(self.regularizers.items()))

    def optimizer(self) -> Optimizer:
        """A fresh optimizer over the network's parameters, its schedules at 0 images."""
        start = {name: value_at(value, 0) for name, value in self.scheduled_settings.items()}
        return self._optimizer([p for p in self.network.parameters() if p.requires_grad], **start)

    def due_terms(self, number: int) -> dict[str, Regularizer]:
        """The regularizers that count on this player's turn `number` = 0, 1, ..."""
        terms = cast("dict[str, Regularizer]", self.regularizers)
        return {name: term for name, term in terms.items() if number % term.every == 0}

    def losses(self, turn: Turn, number: int, drawn: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Tensor]:
        """Each weighted term by name; their sum is what this player descends.

        The adversarial term comes first, so that D sees real, then fake, whatever follows. A term of weight 0 is 0
        unseen, so that the game is to the last bit the one without it: looked at, it would draw D's noise.
        """
        losses: dict[str, Tensor] = {}
        nothing = torch.zeros((), device=turn.batch.x.device, requires_grad=True)  # a leaf, which leads to no weight
        if self.objective is not None:
            weight = value_at(self.weight, turn.images)
            losses = (
                self.adversarial_losses(turn, weight) if weight != 0 else dict.fromkeys(self.adversarial_keys, nothing)
            )
        for name, term in self.due_terms(number).items() if self.regularizers else ():
            weight = value_at(term.weight, turn.images)
            own = replace(turn, term_draw=drawn[name]) if name in drawn else turn
            losses[name] = weight * term.every * term(own) if weight != 0 else nothing
        return losses

    def adversarial_losses(self, turn: Turn, weight: float) -> dict[str, Tensor]:
        """weight * objective per entry of `sees`, by name.  All sides are made before any is judged.

        Raises Mistake where logits differ in more than the number of samples: [N] against [N, 1] would broadcast to all
        pairs.
        """
        assert self.objective is not None
        seen = [{role: turn.side_sample(side) for role, side in look.sides.items()} for look in self.adversarial_terms]
        losses = {}
        for key, look, samples in zip(self.adversarial_keys, self.adversarial_terms, seen, strict=True):
            logits = {role: sample.logits for role, sample in samples.items()}
            _refuse_shapes(logits)
            losses[key] = weight * look.weight * self.objective(**logits)
        return losses

    def draw_for_terms(self, number: int, images: int, n: int, stream: Stream) -> dict[str, Any]:
        """What the terms that count on turn `number` draw before it, by term."""
        due = self.due_terms(number).items()
        return {
            name: term.draw(n, stream) for name, term in due if term.needs_draw and value_at(term.weight, images) != 0
        }

    def apply_schedules(self, optimizer: Optimizer, images: int) -> None:
        """Put the scheduled settings of `optimizer` where they stand after `images` images."""
        for name, value in self.scheduled_settings.items():
            for group in optimizer.param_groups:
                group[name] = value_at(value, images)


@dataclass(frozen=True)
class AdversarialTerm:
    """The sides that an objective is evaluated on, by its arguments, and with what weight."""

    sides: Mapping[str, str]
    weight: float = 1.0


def _looks(objective: Callable[..., Tensor] | None, sees: Any) -> list[AdversarialTerm]:
    """What `sees` says, with the objective's own names for what it leaves out.

    Raises ValueError for an objective that asks for anything but real and fake, and an entry that maps another name.
    """
    named = inspect.signature(objective).parameters if objective is not None else {}
    strange = [n for n, p in named.items() if n not in ROLES and p.default is p.empty]
    if strange:
        raise ValueError(f"an objective may name real and fake; this one asks for {', '.join(strange)}")
    roles = [role for role in ROLES if role in named]
    looks = []
    for entry in [sees or {}] if sees is None or isinstance(sees, Mapping) else sees:
        if other := [key for key in entry if key not in (*ROLES, "weight")]:
            raise ValueError(f"sees maps real and fake to sides, not {', '.join(map(str, other))}")
        mapped = {role: str(entry.get(role, role)) for role in (roles or [key for key in ROLES if key in entry])}
        looks.append(AdversarialTerm(mapped, float(entry.get("weight", 1.0))))
    if not looks:
        raise ValueError("sees=[] looks at nothing: leave it out, or name the sides, {real: ..., fake: ...}")
    return looks


def _keys(looks: Sequence[AdversarialTerm]) -> list[str]:
    """What the objective's terms are called: adversarial; adversarial/<fake side> of several, all sides if need be."""
    if len(looks) == 1:
        return ["adversarial"]
    sides = [list(look.sides.values()) for look in looks]
    names = [own[-1] if own else "" for own in sides]
    if len(set(names)) < len(names):
        names = ["+".join(own) for own in sides]
    if len(set(names)) < len(names):
        raise ValueError(f"sees has one entry twice, {names}: add up their weights")
    return [f"adversarial/{name}" for name in names]


def _refuse_shapes(logits: Mapping[str, Tensor]) -> None:
    if len({own.shape[1:] for own in logits.values()}) > 1:
        shapes = " and ".join(f"{list(own.shape)} for {side}" for side, own in logits.items())
        raise Mistake(
            f"the discriminator's logits have shape {shapes}: they would broadcast to all pairs. Give every side one "
            "shape, such as [N]"
        )
