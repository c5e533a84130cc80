"""Negative log-likelihood of tokens: -E (1/T) sum_t log G(x_t | x_1 ... x_(t-1)), in nats per token.

Maximum likelihood for a generator that returns log-probabilities of given tokens (architecture=recurrent), which
game=likelihood and game=sequence make the side `likelihood` with.
"""

from collections.abc import Callable

from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class NegativeLogLikelihood(Regularizer):
    """The mean over samples and tokens of the log-probabilities [N, T] that the network of `side` returns, negated."""

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1, side: str = "likelihood") -> None:
        super().__init__(weight, every)
        self.side = side

    def forward(self, turn: Turn) -> Tensor:
        """Return a scalar.  Raises Mistake if the network returns no log-probabilities."""
        return -log_probabilities(turn, self.side, "negative_log_likelihood").mean()


def log_probabilities(turn: Turn, side: str, term: str) -> Tensor:
    """Return the log-probabilities [N, T] of a side.  Raises Mistake if its network returns none."""
    value = turn[side].extra_output
    if not isinstance(value, Tensor) or value.ndim != 2:
        raise Mistake(
            f"{term}: the network of side {side} must return x and log-probabilities [N, T], but does not: use "
            "architecture=recurrent"
        )
    return value
