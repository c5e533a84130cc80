"""KL of a diagonal Gaussian posterior from N(0, I): E sum_i (mu_i^2 + sigma_i^2 - 1 - log sigma_i^2) / 2.

Kingma & Welling 2013 (arXiv:1312.6114), appendix B.
"""

from collections.abc import Callable

from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class KL(Regularizer):
    """The mean over samples, of the posterior (mean, log variance), [N, dim] each, that the encoder of `side` returned.

    Raises Mistake where its maker returned no such pair beside x.
    """

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1, side: str = "code") -> None:
        super().__init__(weight, every)
        self.side = side

    def forward(self, turn: Turn) -> Tensor:
        """The divergence, a scalar, in nats."""
        made = turn[self.side].extra_output
        if not isinstance(made, tuple) or len(made) != 2:
            raise Mistake(f"kl: the maker of side {self.side} returns no posterior: x, (mean, log_variance)")
        mean, log_variance = made
        return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
