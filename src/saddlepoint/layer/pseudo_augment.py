"""Adaptive pseudo augmentation (APA): with probability p a real is replaced by a fake, which D's loss counts as real.

Jiang et al. 2021 (arXiv:2111.06849), section 3.2.  p starts at 0 and is adjusted as in ADA (`adaptive_probability`), by
the logits of the presented reals.  At the fixed point G's distribution is still that of the data: D sees
(1 - p) data + p G against G, and these are equal only if G has the distribution of the data (p < 1).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.layer.adaptive_probability import AdaptiveProbability
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class PseudoAugment(AdaptiveProbability):
    """A maker that replaces reals x [N, ...] by fakes; in evaluation mode it returns x unchanged.

    player, side, start, target, speed, every   see `AdaptiveProbability`
    The condition has the entries `fake` [N, ...], which gets no gradient, and `numbers` [N, dim], of which the first
    is used: uniform on [0, 1), a named draw.  Raises Mistake unless there is one fake per real.
    """

    conditional = True

    def __init__(
        self,
        player: str = "discriminator",
        side: str = "pseudo_real",
        start: float | Callable[[int], float] = 0.0,
        target: float = 0.6,
        speed: float | None = 500_000,
        every: int = 4,
    ) -> None:
        super().__init__(player, side, start, target, speed, every, "pseudo augment")

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return x, with a fraction p of its rows replaced."""
        fake, numbers = (condition_entry(condition, name, "pseudo augment") for name in ("fake", "numbers"))
        if fake.shape != x.shape:
            raise Mistake(
                f"pseudo augment replaces reals {list(x.shape)} by fakes, but these are {list(fake.shape)}: it needs "
                "one fake per real"
            )
        if not self.training:
            return x
        return torch.where(numbers[:, :1].view(-1, *[1] * (x.ndim - 1)) < self.p, fake.detach(), x)
