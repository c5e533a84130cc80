"""f-GAN, Jensen-Shannon: max_T E[T(x)] + E[log(2 - exp(T(G(z))))] <= 2 JSD(P, Q), T = log 2 - softplus(-D) < log 2.

Nowozin et al. 2016 (arXiv:1606.00709), tables 2 and 6.  The bound is tight at T = log(2 p / (p + q)), where
D = log(p / q).  It is the minimax game plus log 4: 2 - exp(T) is 2 (1 - sigmoid(D)).
"""

import math

from torch import Tensor
from torch.nn.functional import softplus

LOG4 = math.log(4)


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-D(x))] + E[softplus(D(G(z)))] - log 4, a scalar."""
    return softplus(-real).mean() + softplus(fake).mean() - LOG4


def generator(fake: Tensor) -> Tensor:
    """log 2 - E[softplus(D(G(z)))], a scalar."""
    return LOG4 / 2 - softplus(fake).mean()
