"""A term whose gradient at the last layer of G is as large as that of another term, in a given ratio.

    weight * min(|grad reference| / (|grad term| + 1e-4), 1e4) * term

The gradients are those with respect to one weight, with Frobenius norms, and the factor is constant in the gradient.
Esser et al. 2020 (arXiv:2012.09841), eq. 7: the adversarial term against the reconstruction; weight 0.8 and maximum 1e4
as in the authors' code (CompVis/taming-transformers).
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.stream import Stream
from saddlepoint.turn import Turn


class GradientRatio(Regularizer):
    """The player's objective, or `term`, weighted by the norm of its gradient against that of another term.

    reference  name of a term of the same player; its own weight counts, and `every` does not
    term       a regularizer; None: the player's objective, whose weight must be 0, because it is added here
    parameter  name of the weight in the player's network; None: the last with at least two dimensions
    maximum    of the ratio
    eps        added to the norm of the gradient of the term
    Raises Mistake if a name is unknown, a term does not reach the weight, or the objective is added twice.
    """

    coupled = over_ranks = True

    def __init__(
        self,
        reference: str = "reconstruction",
        weight: float | Callable[[int], float] = 0.8,
        every: int = 1,
        term: Regularizer | None = None,
        parameter: str | None = None,
        maximum: float = 1e4,
        eps: float = 1e-4,
    ) -> None:
        super().__init__(weight, every)
        self.reference, self.term, self.parameter = reference, term, parameter
        self.maximum, self.eps = maximum, eps
        if term is not None:
            self.slope_at, self.needs_draw = term.slope_at, term.needs_draw
            self.needs_sample_slope = term.needs_sample_slope

    def draw(self, n: int, stream: Stream) -> Any:
        """The random numbers of `term`."""
        return None if self.term is None else self.term.draw(n, stream)

    def forward(self, turn: Turn) -> Tensor:
        """ratio * term, a scalar."""
        value, reference = self._value(turn), self._reference(turn)
        norms = [self._gradient_norm(turn, loss) for loss in (reference, value)]
        return (norms[0] / (norms[1] + self.eps)).clamp(max=self.maximum) * value

    def _value(self, turn: Turn) -> Tensor:
        """The unweighted term."""
        if self.term is not None:
            return self.term(turn)
        if turn.player.objective is None or turn.player.weight != 0:
            raise Mistake(
                "gradient_ratio adds the objective with its own weight: keep the objective and set its weight to 0, "
                "game.players.<player>.weight=0"
            )
        return cast(Tensor, sum(turn.player.adversarial_losses(turn, 1.0).values()))

    def _reference(self, turn: Turn) -> Tensor:
        """The weighted term with the name `reference`."""
        terms = {name: term for name, term in turn.player.terms.items() if term is not self}
        if (term := terms.get(self.reference)) is None:
            raise Mistake(
                f"gradient_ratio: the player has no term {self.reference}.{did_you_mean(self.reference, terms)} It has "
                f"{', '.join(terms) or 'none'}"
            )
        if term.needs_draw:
            raise Mistake(f"gradient_ratio: {self.reference} draws random numbers, so it cannot be the reference")
        return term(turn) * (term.weight(turn.images) if callable(term.weight) else term.weight)

    def _gradient_norm(self, turn: Turn, loss: Tensor) -> Tensor:
        """The norm of the gradient of a loss with respect to the weight, over the batch of all ranks."""
        weights = {n: p for n, p in turn.player.network.named_parameters() if p.requires_grad}
        name = self.parameter or [n for n, p in weights.items() if p.ndim > 1][-1]
        if name not in weights:
            raise Mistake(
                f"gradient_ratio: parameter={name} is not a weight of the network.{did_you_mean(name, weights)}"
            )
        gradient = (
            torch.autograd.grad(loss, weights[name], retain_graph=True, allow_unused=True)[0]
            if loss.requires_grad
            else None
        )
        if gradient is None:
            raise Mistake(f"gradient_ratio: a term does not reach the weight {name}: choose another, parameter=...")
        return ranks.mean(gradient).norm()
