"""Relativistic pairing: each real is compared with one fake.  Jolicoeur-Martineau 2018 (arXiv:1807.00734), eq. 7-8.

With r1 and r2 this is R3GAN's loss (Huang et al. 2024, arXiv:2501.05441, eq. 2).
"""

from torch import Tensor
from torch.nn.functional import softplus


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log sigmoid(D(x) - D(G(z)))], real and fake paired row by row, so of one shape."""
    return softplus(fake - real).mean()


def generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log sigmoid(D(G(z)) - D(x))]."""
    return softplus(real - fake).mean()
