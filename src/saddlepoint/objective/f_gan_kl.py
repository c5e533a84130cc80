"""f-GAN, Kullback-Leibler: max_D E[T(x)] - E[exp(T(G(z)) - 1)] <= KL(P || Q), T = D.  Nowozin et al. 2016.

arXiv:1606.00709, tables 2 and 6.  The bound is tight at T = 1 + log(p / q).
"""

from torch import Tensor


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[exp(T(G(z)) - 1)] - E[T(x)], a scalar."""
    return (fake - 1).exp().mean() - real.mean()


def generator(fake: Tensor) -> Tensor:
    """-E[exp(T(G(z)) - 1)], a scalar."""
    return -(fake - 1).exp().mean()
