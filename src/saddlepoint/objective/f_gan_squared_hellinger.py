"""f-GAN, squared Hellinger: max_T E[T(x)] - E[T(G(z)) / (1 - T(G(z)))] <= H^2(P, Q), T = 1 - exp(-D) < 1.

H^2 = E_Q[(sqrt(p / q) - 1)^2].  Nowozin et al. 2016 (arXiv:1606.00709), tables 2 and 6.  The bound is tight at
T = 1 - sqrt(q / p), where D = log(p / q) / 2.
"""

from torch import Tensor


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[exp(-D(x))] + E[exp(D(G(z)))] - 2, a scalar: T / (1 - T) is exp(D) - 1."""
    return (-real).exp().mean() + fake.exp().mean() - 2


def generator(fake: Tensor) -> Tensor:
    """1 - E[exp(D(G(z)))], a scalar."""
    return 1 - fake.exp().mean()
