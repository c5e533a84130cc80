"""Relativistic pairing: each real is compared with one fake.  Jolicoeur-Martineau 2018 (arXiv:1807.00734), eq. 7-8.

With r1 and r2 this is R3GAN's loss (Huang et al. 2024, arXiv:2501.05441, eq. 2).
"""

from torch import Tensor
from torch.nn.functional import softplus


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log sigmoid(D(x) - D(G(z)))], real and fake paired row by row.  Raises ValueError unless of one shape."""
    return softplus(-_difference(real, fake)).mean()


def generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log sigmoid(D(G(z)) - D(x))].  Raises ValueError unless they are of one shape."""
    return softplus(_difference(real, fake)).mean()


def _difference(real: Tensor, fake: Tensor) -> Tensor:
    """D(x) - D(G(z)), row by row: [N] less [N, 1] would be all N x N pairs."""
    if real.shape != fake.shape:
        raise ValueError(
            f"relativistic pairs logits row by row: {list(real.shape)} of reals, {list(fake.shape)} of fakes"
        )
    return real - fake
