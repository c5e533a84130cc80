"""A network, what it minimises, and how it moves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from torch import Tensor, nn
from torch.optim import Optimizer

from saddlepoint.error import Mistake
from saddlepoint.game.average import Average
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.schedule.schedule import at, moves
from saddlepoint.turn import Turn

SIDES = ("real", "fake")  # in the order in which D sees them


class Player(nn.Module):
    """A column of the table: it descends  weight * objective + sum of weight * every * regularizer.

    objective     pure function of the logits of the sides that its arguments name (real, fake); None: no such term
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
    ) -> None:
        super().__init__()
        for name, value in {"every": every, "multiple": multiple, "accumulate": accumulate}.items():
            if value < 1 or value != int(value):
                raise ValueError(f"{name}={value} must be a whole number of at least 1")
        if clip is not None and clip <= 0:
            raise ValueError(f"clip={clip} must be above 0 (null: no clipping)")
        self.network, self.objective, self.sides = network, objective, _sides(objective)
        self.weight, self.every, self.multiple, self.accumulate = weight, every, multiple, accumulate
        self.clip = clip
        self.gradient_norm: Tensor | None = None  # before clipping, where it clips
        self.regularizers = nn.ModuleDict(regularizers or {})
        for name, term in self.terms.items():
            if term.coupled and accumulate > 1:
                raise ValueError(f"{name} looks at a batch as a whole: accumulate={accumulate} would change it; set 1")
        self.average = average(network) if average is not None else None
        self.moving = {name: value for name, value in getattr(optimizer, "keywords", {}).items() if moves(value)}
        self._optimizer = optimizer

    @property
    def terms(self) -> dict[str, Regularizer]:
        """The regularizers by name."""
        return cast("dict[str, Regularizer]", dict(self.regularizers.items()))

    def optimizer(self) -> Optimizer:
        """A fresh optimizer over the network's parameters, its schedules at 0 images."""
        start = {name: at(value, 0) for name, value in self.moving.items()}
        return self._optimizer([p for p in self.network.parameters() if p.requires_grad], **start)

    def due(self, number: int) -> dict[str, Regularizer]:
        """The regularizers that count on this player's turn `number` = 0, 1, ..."""
        return {name: term for name, term in self.terms.items() if number % term.every == 0}

    def losses(self, turn: Turn, number: int) -> dict[str, Tensor]:
        """Each weighted term by name; their sum is what this player descends.

        The adversarial term comes first, so that D sees real, then fake, whatever follows. A term of weight 0 is 0
        unseen, so that the game is to the last bit the one without it: looked at, it would draw D's noise.
        """
        losses = {}
        nothing = turn.real.x.new_zeros((), requires_grad=True)  # a leaf of its own, which leads to no weight
        if self.objective is not None:
            losses["adversarial"] = nothing
            if (weight := at(self.weight, turn.images)) != 0:
                losses["adversarial"] = weight * self.adversarial(turn)
        for name, term in self.due(number).items():
            weight = at(term.weight, turn.images)
            losses[name] = weight * term.every * term(turn) if weight != 0 else nothing
        return losses

    def adversarial(self, turn: Turn) -> Tensor:
        """The unweighted objective, a scalar.

        Raises Mistake where D's logits differ in more than the number of samples: [N] against [N, 1] would broadcast to
        all pairs.
        """
        assert self.objective is not None
        logits = {side: getattr(turn, side).logits for side in self.sides}
        if len({tuple(own.shape[1:]) for own in logits.values()}) > 1:
            shapes = " and ".join(f"{list(own.shape)} for {side}" for side, own in logits.items())
            raise Mistake(
                f"the discriminator's logits have shape {shapes}: they would broadcast to all pairs. Give every side "
                "one shape, such as [N]"
            )
        return self.objective(**logits)

    def reschedule(self, optimizer: Optimizer, images: int) -> None:
        """Put the scheduled settings of `optimizer` where they stand after `images` images."""
        for name, value in self.moving.items():
            for group in optimizer.param_groups:
                group[name] = at(value, images)


def _sides(objective: Callable[..., Tensor] | None) -> tuple[str, ...]:
    """The sides that an objective's signature names, in the order real, fake."""
    named = inspect.signature(objective).parameters if objective is not None else {}
    strange = [n for n, p in named.items() if n not in SIDES and p.default is p.empty]
    if strange:
        raise ValueError(f"an objective may name real and fake; this one asks for {', '.join(strange)}")
    return tuple(side for side in SIDES if side in named)
