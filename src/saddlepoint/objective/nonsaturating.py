"""Non-saturating: D as in minimax, G descends -E[log D(G(z))].  Goodfellow et al. 2014 (arXiv:1406.2661), section 3.

This is the "logistic" or "softplus" loss of StyleGAN's and other code: D descends E[softplus(-D(x))] +
E[softplus(D(G(z)))] and G descends E[softplus(-D(G(z)))], with D's logits.
"""

from torch import Tensor
from torch.nn.functional import softplus

from saddlepoint.objective.minimax import discriminator

__all__ = ["discriminator", "generator"]


def generator(fake: Tensor) -> Tensor:
    """-E[log D(G(z))]: the same fixed point as minimax, without a vanishing gradient if D is confident."""
    return softplus(-fake).mean()
