"""f-GAN, Pearson chi^2: max_D E[T(x)] - E[T(G(z))^2 / 4 + T(G(z))] <= chi^2(P || Q) = E_Q[(p / q - 1)^2], T = D.

Nowozin et al. 2016 (arXiv:1606.00709), tables 2 and 6.  The bound is tight at T = 2 (p / q - 1).
"""

from torch import Tensor


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[T(G(z))^2 / 4 + T(G(z))] - E[T(x)], a scalar."""
    return (fake.square() / 4 + fake).mean() - real.mean()


def generator(fake: Tensor) -> Tensor:
    """-E[T(G(z))^2 / 4 + T(G(z))], a scalar."""
    return -(fake.square() / 4 + fake).mean()
