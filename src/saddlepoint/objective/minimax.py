"""Minimax: min_G max_D  E[log D(x)] + E[log(1 - D(G(z)))].  Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1.

D = sigmoid(logits), so -log D = softplus(-logits) and -log(1 - D) = softplus(logits), without overflow. The two
expectations are summed, not averaged: at logits 0 the loss of D is log 4.
"""

from torch import Tensor
from torch.nn.functional import softplus


def discriminator(real: Tensor, fake: Tensor, real_label: float = 1.0) -> Tensor:
    """-E[a log D(x) + (1 - a) log(1 - D(x))] - E[log(1 - D(G(z)))], a = real_label in (0, 1].

    a < 1 is one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498, section 3.4): fakes keep the target 0.
    Raises ValueError if a is outside (0, 1].
    """
    if not isinstance(real_label, int | float) or not 0 < real_label <= 1:
        raise ValueError(f"real_label={real_label}, D's target for reals, must be above 0 and at most 1")
    if real_label == 1:
        return softplus(-real).mean() + softplus(fake).mean()
    return (real_label * softplus(-real) + (1 - real_label) * softplus(real)).mean() + softplus(fake).mean()


def generator(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], whose gradient vanishes if D rejects fakes with confidence."""
    return -softplus(fake).mean()
