"""KL divergence of a diagonal Gaussian posterior from N(0, I): E sum_i (mu_i^2 + sigma_i^2 - 1 - log sigma_i^2) / 2.

Kingma & Welling 2013 (arXiv:1312.6114), appendix B.
"""

from collections.abc import Callable

from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class KL(Regularizer):
    """Mean over samples, for the posterior (mean, log variance), [N, dim] each, that the network of `side` returns.

    Raises Mistake if the network does not return such a pair with x.
    """

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1, side: str = "code") -> None:
        super().__init__(weight, every)
        self.side = side

    def forward(self, turn: Turn) -> Tensor:
        """Return the divergence in nats, a scalar."""
        posterior = turn[self.side].extra_output
        if not isinstance(posterior, tuple) or len(posterior) != 2:
            raise Mistake(
                f"kl: the network of side {self.side} must return x, (mean, log_variance), but returns no posterior"
            )
        mean, log_variance = posterior
        return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
