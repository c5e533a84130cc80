"""LeCam regularization: E[(D(x) - a_F)^2] + E[(D(G(z)) - a_R)^2], a_R and a_F moving averages of D's mean logits.

Tseng et al. 2021 (arXiv:2104.03310), eq. 7 and 8; the authors' code (google/lecam-gan) counts only reals above a_F and
fakes below a_R, max(0, D(x) - a_F)^2 and max(0, a_R - D(G(z)))^2.  It keeps the logits of each side near the moving
average of the other side's, which for the Wasserstein objective corresponds to the LeCam divergence; meant for small
data sets.  The authors' weight is 0.01 to 0.3 and their decay 0.99.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class LeCam(Regularizer):
    """The sum of the mean squared distances of D's logits from the moving averages of the opposite side.

    decay  share of the previous average at each turn; both averages start at the first turn's means
    Raises ValueError unless 0 <= decay < 1.
    """

    coupled = over_ranks = True
    averages: Tensor

    def __init__(self, weight: float | Callable[[int], float] = 0.1, every: int = 1, decay: float = 0.99) -> None:
        super().__init__(weight, every)
        if not 0 <= decay < 1:
            raise ValueError(f"lecam: decay={decay} must be at least 0 and below 1")
        self.decay = decay
        self.register_buffer("averages", torch.zeros(2))  # a_R, a_F
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))

    def forward(self, turn: Turn) -> Tensor:
        """The term, a scalar; the averages are constants of the gradient."""
        real, fake = turn["real"].logits, turn["fake"].logits
        means = ranks.mean(torch.stack([real.detach().mean(), fake.detach().mean()]))
        self.averages.lerp_(means.to(self.averages), 1 - self.decay if self.turns else 1.0)
        self.turns += 1
        a_real, a_fake = self.averages.clone()
        return (real - a_fake).square().mean() + (fake - a_real).square().mean()
