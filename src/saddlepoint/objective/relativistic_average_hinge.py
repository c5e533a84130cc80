"""Relativistic average hinge: the hinge loss of a = D(x) - E D(G(z)) and b = D(G(z)) - E D(x).

Jolicoeur-Martineau 2018 (arXiv:1807.00734), appendix (RaHingeGAN).
"""

from torch import Tensor
from torch.nn.functional import relu

from saddlepoint.objective.relativistic_average import relative_logits


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(E[max(0, 1 - a)] + E[max(0, 1 + b)]) / 2, a scalar."""
    a, b = relative_logits(real, fake)
    return (relu(1 - a).mean() + relu(1 + b).mean()) / 2


def generator(real: Tensor, fake: Tensor) -> Tensor:
    """(E[max(0, 1 + a)] + E[max(0, 1 - b)]) / 2, a scalar."""
    return discriminator(fake, real)
