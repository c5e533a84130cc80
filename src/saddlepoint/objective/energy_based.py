"""Energy-based: D assigns low energy to reals and energy of at least m to fakes.  Zhao et al. 2016 (arXiv:1609.03126).

The paper's energy is the reconstruction error of an auto-encoder. Here it is E(x) = softplus(-D(x)) >= 0 of any D, so
that large logits mean real, as for all objectives: the losses are the paper's, this energy is our own setting.
"""

from torch import Tensor
from torch.nn.functional import relu, softplus


def discriminator(real: Tensor, fake: Tensor, margin: float = 1.0) -> Tensor:
    """E[E(x)] + E[max(0, margin - E(G(z)))], eq. 1 of the paper, a scalar.  Raises ValueError unless margin > 0."""
    if margin <= 0:
        raise ValueError(f"margin={margin} must be above 0: it is the energy that D assigns to fakes")
    return softplus(-real).mean() + relu(margin - softplus(-fake)).mean()


def generator(fake: Tensor) -> Tensor:
    """E[E(G(z))], eq. 2 of the paper, a scalar."""
    return softplus(-fake).mean()
