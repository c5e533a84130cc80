"""Hinge: E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))].  Lim & Ye 2017 (arXiv:1705.02894)."""

from torch import Tensor
from torch.nn.functional import relu


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))]."""
    return -fake.mean()
