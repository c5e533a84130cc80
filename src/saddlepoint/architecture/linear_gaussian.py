"""The linear-Gaussian VAE: its likelihood has a closed form, that of probabilistic PCA.

    p(z) = N(0, I),  p(x|z) = N(W z + m, s^2 I),  q(z|x) = N(V x + b, diag(exp(log_variance)))
    log p(x) = log N(x; m, W W^T + s^2 I)   >=   ELBO = E_q log p(x|z) - KL(q(z|x) || p(z))

with equality if W has orthogonal columns and q is the posterior N(M^-1 W^T (x - m), s^2 M^-1), M = W^T W + s^2 I.
Tipping & Bishop 1999 (JRSS B 61:611), eq. 6 and 7; Lucas et al. 2019 (arXiv:1911.02469), section 4; Kingma & Welling
2013 (arXiv:1312.6114). As terms of game=vae, for samples of D numbers:

    -ELBO = kl + w reconstruction + D/2 log(2 pi s^2),    w = D / (2 s^2),  reconstruction = mean of (x - x~)^2
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import UNCONDITIONAL, Condition


class Encoder(nn.Module):
    """x [N, *shape] -> {z: a sample of q(z|x), [N, dim]}, (mean, log_variance), [N, dim] each.

    The sample uses the condition's entry `noise` [N, dim], standard normal: a named draw of the game, so that it is
    drawn once for the batch of all ranks.
    """

    def __init__(self, shape: Sequence[int], dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(math.prod(shape), dim)
        self.log_variance = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, condition: Condition) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """Return a sample of q(z|x), and its mean and log variance.  Raises Mistake if the condition has no noise."""
        mean, noise = self.mean(x.flatten(1)), condition_entry(condition, "noise", "the encoder")
        log_variance = self.log_variance.expand_as(mean)
        return {"z": mean + (log_variance / 2).exp() * noise}, (mean, log_variance)


class Generator(nn.Module):
    """The mean of p(x|z), W z + m."""

    def __init__(self, latent: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.linear, self.shape = nn.Linear(latent, math.prod(shape)), tuple(shape)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return samples [N, *shape] for latent parts [N, dim]."""
        return self.linear(torch.cat(list(latent.values()), 1)).unflatten(1, self.shape)
