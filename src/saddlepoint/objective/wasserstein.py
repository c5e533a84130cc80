"""Wasserstein: max_D E[D(x)] - E[D(G(z))] over 1-Lipschitz D.  Arjovsky et al. 2017 (arXiv:1701.07875), eq. 2.

A regularizer enforces the constraint (gradient_penalty).
"""

from torch import Tensor


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)]."""
    return fake.mean() - real.mean()


def generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))]."""
    return -fake.mean()
