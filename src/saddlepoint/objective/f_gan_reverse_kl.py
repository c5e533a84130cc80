"""f-GAN, reverse Kullback-Leibler: max_T E[T(x)] + E[1 + log(-T(G(z)))] <= KL(Q || P), T = -exp(-D) < 0.

Nowozin et al. 2016 (arXiv:1606.00709), tables 2 and 6.  The bound is tight at T = -q / p, where D = log(p / q).
"""

from torch import Tensor


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[exp(-D(x))] + E[D(G(z))] - 1, a scalar: -log(-T) is D."""
    return (-real).exp().mean() + fake.mean() - 1


def generator(fake: Tensor) -> Tensor:
    """1 - E[D(G(z))], a scalar."""
    return 1 - fake.mean()
