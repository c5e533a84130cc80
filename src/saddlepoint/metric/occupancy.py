"""Occupancy of K modes by n draws: how many modes are reached, and how far the histogram is from a distribution q.

    captured = #{k : n_k >= least}          KL(p || q) = sum_k p_k ln(p_k / q_k),   p_k = n_k / n

Both depend on n even for a perfect sampler: of 1,000 equal modes 2,500 draws miss 82, and the KL of 26,000 draws is
.0193, close to (K - 1) / (2 n).  So scores are compared only at equal n, and each is reported with its expected value
for a perfect sampler.  These expectations are exact sums over binomial distributions.
"""

import math

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

TAIL_PROBABILITY = 1e-15  # probability ignored in either tail of a binomial distribution


def captured_modes(counts: Tensor, least: int = 1) -> Tensor:
    """Number of modes with `least` draws or more, a float64 scalar; counts [K]."""
    return (counts >= least).sum().to(torch.float64)


def histogram_kl(counts: Tensor, law: Tensor) -> Tensor:
    """KL(counts / n || law) in nats, a float64 scalar >= 0; infinite if a mode of probability 0 is reached.

    counts [K], and law [K], which sums to 1.  Raises ValueError if all counts are 0.
    """
    if not counts.sum() > 0:
        raise ValueError("no draw is in any mode, so there is no histogram and no KL")
    p, q = counts.to(torch.float64) / counts.sum(), law.to(torch.float64).to(counts.device)
    # xlogy: a mode without draws adds 0, not 0 * -inf
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum().clamp(min=0)


def expected_captured_modes(p: Tensor, n: int, least: int = 1) -> float:
    """Mean of `captured_modes` over n draws from p [K].  p may sum to less than 1; other draws are in no mode."""
    return round(float(binom.sf(least - 1, n, _to_numpy(p)).sum()), 9)  # rounds 1e-22 of a mode to 0


def expected_histogram_kl(p: Tensor, n: int, law: Tensor) -> float:
    """Mean of `histogram_kl` over n draws from p [K], with the distribution `law` [K]."""
    distinct, inverse = np.unique(_to_numpy(p), return_inverse=True)
    entropy = np.array([_expected_log(n, one) for one in distinct])[inverse].sum()
    return float(entropy - torch.special.xlogy(p.to(torch.float64), law.to(torch.float64)).sum())


def _expected_log(n: int, p: float) -> float:
    """E[(X / n) ln(X / n)] for X of Binomial(n, p)."""
    low, high = binom.ppf(TAIL_PROBABILITY, n, p), binom.isf(TAIL_PROBABILITY, n, p)
    x = np.arange(max(1, int(low)), int(high) + 1)
    return math.fsum(binom.pmf(x, n, p) * (x / n) * np.log(x / n))


def _to_numpy(p: Tensor) -> np.ndarray:
    return p.to(torch.float64).cpu().numpy()
