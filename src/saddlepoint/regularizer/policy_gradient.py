"""Policy gradient for tokens, which have no gradient themselves, with D's density ratio as the reward.

    -sum_i (w_i - 1/N) log G(x_i),   w_i = r_i / sum_j r_j,   r = D / (1 - D) = exp(logit)

Che et al. 2017 (MaliGAN, arXiv:1702.07983), algorithm 1, not the mixture with prefixes of data of its algorithm 2: the
ratio of a batch estimates p_data / p_G, so this descends the forward KL divergence; 1/N, the mean of w, is the
baseline.  log G(x) is the sum over tokens.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.regularizer.negative_log_likelihood import log_probabilities
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class PolicyGradient(Regularizer):
    """For a generator that returns log-probabilities [N, T] with its samples; logits [N, R] are averaged over R.

    The weights are those of the batch of all ranks.
    """

    coupled = over_ranks = True

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1, side: str = "fake") -> None:
        super().__init__(weight, every)
        self.side = side

    def forward(self, turn: Turn) -> Tensor:
        """Return a scalar, whose gradient is the estimate.  Raises Mistake if there are no log-probabilities."""
        score = log_probabilities(turn, self.side, "policy_gradient").sum(1)
        with torch.no_grad():
            logits = turn[self.side].logits
            logits = logits.reshape(len(logits), -1).mean(1)
            every = ranks.all_gather(logits)
            advantage = (logits - every.logsumexp(0)).exp() - 1 / len(every)
        return -ranks.world_size() * (advantage * score).sum()  # gradients are averaged over ranks
