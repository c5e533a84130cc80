"""Negative log-likelihood of binary images under independent Bernoulli pixels: -E log p(x|z), in nats per image.

    sum_i softplus(-x_i a_i),    x_i = -1 or 1, a_i the logit of pixel i being 1

With `kl`, the sum is the negative evidence lower bound: Kingma & Welling 2013 (arXiv:1312.6114), appendix C.1.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class BernoulliLikelihood(Regularizer):
    """Mean over samples of the negative log-likelihood of `target` under the logits that the network of `side` returns.

    target  a side of values -1 and 1; other values in [-1, 1] count in proportion
    Raises Mistake if the network does not return logits, of the shape of its samples, with x.
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        side: str = "reconstruction",
        target: str = "binary",
    ) -> None:
        super().__init__(weight, every)
        self.side, self.target = side, target

    def forward(self, turn: Turn) -> Tensor:
        """Return nats per image, a scalar."""
        sample, x = turn[self.side], turn.player_tensor(self.target)
        logits = sample.extra_output
        if not isinstance(logits, Tensor) or logits.shape != sample.x.shape:
            raise Mistake(
                f"bernoulli_likelihood: the network of side {self.side} must return x and the logits of its pixels: "
                "use architecture=vae_mlp, or regularizer=[kl,gaussian_likelihood]"
            )
        return -bernoulli_log_likelihood(x, logits).mean()


def bernoulli_log_likelihood(x: Tensor, logits: Tensor) -> Tensor:
    """Return log p(x) in nats, [N], summed over all values of a sample; x and logits [N, ...]."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return ((x - 1) / 2 * logits - softplus(-logits)).flatten(1).sum(1)
