"""Relativistic average: each sample is compared with the mean of the other side.

    a = D(x) - E D(G(z)),     b = D(G(z)) - E D(x)

Jolicoeur-Martineau 2018 (arXiv:1807.00734), eq. 9 to 12 (RaSGAN), halved as in the authors' code.  The means are over
all ranks; with `accumulate` they are over one part of the batch.
"""

from torch import Tensor
from torch.nn.functional import softplus

from saddlepoint import ranks


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(E[-log sigmoid(a)] + E[-log(1 - sigmoid(b))]) / 2, a scalar."""
    a, b = relative_logits(real, fake)
    return (softplus(-a).mean() + softplus(b).mean()) / 2


def generator(real: Tensor, fake: Tensor) -> Tensor:
    """(E[-log(1 - sigmoid(a))] + E[-log sigmoid(b)]) / 2, a scalar."""
    return discriminator(fake, real)


def relative_logits(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """a and b of the module's equation, with the shapes of `real` and `fake`."""
    return real - ranks.mean(fake.mean()), fake - ranks.mean(real.mean())
