"""Cycle consistency: sum over the cycles of E|F(G(a)) - a|.  Zhu et al. 2017 (CycleGAN, arXiv:1703.10593), eq. 2.

Each generator takes part in both cycles, so both have the term; with one term per player, the gradients are those of
the sum that the authors' code minimises with one optimizer for both.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer, batch_columns
from saddlepoint.turn import Turn


class CycleConsistency(Regularizer):
    """The mean absolute difference between each side of `cycles` and the column or side that it should return to.

    cycles  side -> column or side, of the same shape
    """

    def __init__(
        self,
        cycles: Mapping[str, str],
        weight: float | Callable[[int], float] = 10.0,
        every: int = 1,
    ) -> None:
        super().__init__(weight, every)
        self.cycles = dict(cycles)

    def forward(self, turn: Turn) -> Tensor:
        """Return the sum over cycles, a scalar."""
        pairs = [(turn.tensor(side), turn.tensor(start)) for side, start in self.cycles.items()]
        return torch.stack(
            [(x - target).to(torch.promote_types(x.dtype, torch.float32)).abs().mean() for x, target in pairs]
        ).sum()

    def check_columns(self, columns: Mapping[str, Tensor | None]) -> None:
        """Raise Mistake if the domains differ in size or channels."""
        shapes = {name: list(x.shape[1:]) for name in self.cycles.values() if (x := columns.get(name)) is not None}
        if len(set(map(tuple, shapes.values()))) > 1:
            described = " and ".join(f"{name} is {shape}" for name, shape in shapes.items())
            raise Mistake(
                f"cycle_consistency: {described}: both domains of a cycle need one size and one number of channels"
            )

    def check_game(self, game: Any) -> str | None:
        """Return a warning if the training data are pairs, which a cycle does not use."""
        columns = frozenset().union(*(batch_columns(game, start) for start in self.cycles.values()))
        data = game.conditions.data
        if data is None or len(columns) < 2 or not hasattr(data, "split") or not data.split("train").paired:
            return None
        return (
            f"these data are pairs of {' and '.join(sorted(columns))}, and a cycle does not use which belong together: "
            "game=translation 'regularizer=[reconstruction]' (pix2pix) does"
        )
