"""Importance weighting: D's real term is weighted per sample.  Choi et al. 2020 (arXiv:1910.12008), section 3.

    E_x[f(D(x))] + E[g(D(G(z)))]      becomes      E_x[w(x)^alpha f(D(x))] + E[g(D(G(z)))]

for an objective of this form, such as hinge, where f(l) = max(0, 1 - l), or nonsaturating, where f(l) = softplus(-l).
With w = p_ref / p_train the real term has the expectation of the reference set: E_train[w f] = E_ref[f].  The weights
are not normalised, as E_train[w] = 1 already.  G's loss does not change.

The term that is added to D's loss is the difference, E_x[(w(x)^alpha - 1) f(D(x))], times D's adversarial weight.  It
calls the objective of the player with one real at a time and constant fakes, so f is that of any such objective.  The
value then includes the constant (mean(w^alpha) - 1) E[g], which has no gradient.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class ImportanceWeighting(Regularizer):
    """E[(w^alpha - 1) f(D(x))] of the side real, a scalar; `column` of the batch holds w, float [N], a weight per real.

    alpha   exponent that flattens the weights; 1 is unbiased, 0 is no weighting
    Raises ValueError if alpha is negative.
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        alpha: float = 1.0,
        column: str = "weight",
    ) -> None:
        super().__init__(weight, every)
        if alpha < 0:
            raise ValueError(f"importance_weighting: alpha={alpha} must be at least 0")
        self.alpha, self.column = alpha, column

    def forward(self, turn: Turn) -> Tensor:
        """Return the term.  Raises Mistake if D does not give a logit, or a map of logits, for each real."""
        real, fake, w = turn["real"].logits, turn["fake"].logits.detach(), turn.tensor(self.column)
        if len(real) != len(w):
            raise Mistake(
                f"importance_weighting: D has {len(real)} logits of {len(w)} reals, and a weight belongs to one real. "
                "Leave out layers that join samples, such as packing"
            )
        objective, weight = turn.player.objective, turn.player.weight  # a number, or a schedule
        real_term = torch.vmap(lambda logit: objective(real=logit[None], fake=fake))(real)
        weight = (weight(turn.images) if callable(weight) else weight) * turn.player.adversarial_terms[0].weight
        return weight * ((w**self.alpha - 1) * real_term).mean()

    def check_columns(self, columns: Mapping[str, Tensor | None]) -> None:
        """Raise Mistake if the batch has no column of weights."""
        if columns.get(self.column) is None:
            known = ", ".join(name for name, column in columns.items() if column is not None)
            raise Mistake(
                f"importance_weighting: these data have no column {self.column} (there are: {known}). Choose data with "
                "weights, such as data=coloured_digits data.weights=classifier"
            )

    def check_game(self, game: Any) -> None:
        """Raise Mistake unless the objective of D is the sum of a mean over reals and a mean over fakes."""
        for name, player in game.players.items():
            if self not in player.regularizers.values():
                continue
            if player.objective is None or [set(term.sides) for term in player.adversarial_terms] != [{"real", "fake"}]:
                raise Mistake(
                    f"importance_weighting weighs the real term of one objective of real and fake, which {name} does "
                    "not have. Remove this regularizer"
                )
            if not is_sum_of_means(player.objective):
                raise Mistake(
                    f"importance_weighting: the objective of {name} compares reals with fakes, so it has no real term "
                    "to weigh. Choose objective=hinge, nonsaturating, least_squares or wasserstein"
                )


def is_sum_of_means(objective: Callable[..., Tensor]) -> bool:
    """Whether L(real, fake) = mean f(real) + mean g(fake): tested on four logits of each side."""
    a, b = torch.tensor([[0.3, -1.2, 0.8, 2.1], [-0.4, 1.7, -2.2, 0.6]], dtype=torch.float64)
    same, exchanged = objective(real=a, fake=a) + objective(real=b, fake=b), objective(real=a, fake=b)
    if not torch.isclose(same, exchanged + objective(real=b, fake=a)):
        return False
    return bool(torch.isclose(torch.stack([objective(real=logit[None], fake=b) for logit in a]).mean(), exchanged))
