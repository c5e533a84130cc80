"""Zero-sum: G's loss is the negative of D's whole loss, reals included.  Metz et al. 2016 (arXiv:1611.02163), eq. 1.

    L_D = -E[log D(x)] - E[log(1 - D(G(z)))],    L_G = -L_D

Where D is fixed on G's turn, this is minimax plus a constant. Under `game=unrolled` D depends on the fakes through its
further steps, so that reals have a gradient too: eq. 4 of the paper.
"""

from torch import Tensor

from saddlepoint.objective.minimax import discriminator

__all__ = ["discriminator", "generator"]


def generator(real: Tensor, fake: Tensor) -> Tensor:
    """E[log D(x)] + E[log(1 - D(G(z)))]."""
    return -discriminator(real, fake)
