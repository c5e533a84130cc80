"""Consistency: E|D(x) - D(T(x))|^2, for two sides of which the second was made from the first.

CR, T an augmentation of reals: Zhang et al. 2019 (arXiv:1910.12027), eq. 3, weight 10.  bCR, of reals and of fakes, and
zCR, T(G(z)) = G(z + noise): Zhao et al. 2020 (arXiv:2002.04724), sections 3.1 and 3.2.  Both D(x) and D(T(x)) get a
gradient.  The makers of the second side are those of the game (game=consistency).
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class Consistency(Regularizer):
    """The mean squared difference of D's logits on two sides, row by row.

    side, changed  names of sides with a judge; real and fake are those that the player's `sees` gives
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 10.0,
        every: int = 1,
        side: str = "real",
        changed: str = "augmented_real",
    ) -> None:
        super().__init__(weight, every)
        self.side, self.changed = side, changed

    def forward(self, turn: Turn) -> Tensor:
        """Return the mean over samples, a scalar.  Raises Mistake if the sides have other numbers of rows."""
        a, b = turn[self.side].logits, turn[self.changed].logits
        if a.shape != b.shape:
            raise Mistake(
                f"consistency: {self.side} and {self.changed} have logits {list(a.shape)} and {list(b.shape)}"
            )
        return (a - b).square().mean()

    def check_game(self, game: Any) -> None:
        """Raise Mistake if the game lacks the changed side."""
        if self.changed not in game.sides:
            raise Mistake(f"this game has no side {self.changed}: set game=consistency, or add it to game.sides")
