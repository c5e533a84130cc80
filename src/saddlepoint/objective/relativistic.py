"""Relativistic pairing: each real is paired with one fake.  Jolicoeur-Martineau 2018 (arXiv:1807.00734), eq. 7-8.

With r1 and r2 this is the loss of R3GAN (Huang et al. 2024, arXiv:2501.05441, eq. 2).
"""

from torch import Tensor
from torch.nn.functional import softplus


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log sigmoid(D(x) - D(G(z)))], paired row by row.  Raises ValueError unless both have the same shape."""
    return softplus(-_paired_difference(real, fake)).mean()


def generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log sigmoid(D(G(z)) - D(x))].  Raises ValueError unless both have the same shape."""
    return softplus(_paired_difference(real, fake)).mean()


def _paired_difference(real: Tensor, fake: Tensor) -> Tensor:
    """D(x) - D(G(z)), row by row; shapes must be equal, since [N] and [N, 1] would broadcast to all N x N pairs."""
    if real.shape != fake.shape:
        raise ValueError(
            f"relativistic pairs logits row by row, but reals have {list(real.shape)} and fakes {list(fake.shape)}"
        )
    return real - fake
