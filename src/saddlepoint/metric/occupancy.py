"""Occupancy: n draws fall into K modes; how many modes are hit, and how far the histogram is from its law.

    captured = #{k : n_k >= least}          KL(p || q) = sum_k p_k ln(p_k / q_k),   p_k = n_k / n

Both depend on n alone even for a perfect sampler: of 1,000 equal modes 2,500 draws miss 82, and the KL of 26,000 draws
is .0193, near (K - 1) / (2 n).  The expectations here are exact sums over binomial laws, so that each score has its
floor beside it, and no two of different n are compared.
"""

import math

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

TAILS = 1e-15  # of a binomial law left out, on either side


def captured_modes(counts: Tensor, least: int = 1) -> Tensor:
    """How many of the modes hold `least` draws or more, a float64 scalar; counts [K]."""
    return (counts >= least).sum().to(torch.float64)


def histogram_kl(counts: Tensor, law: Tensor) -> Tensor:
    """KL(counts / n || law) in nats, a float64 scalar >= 0; infinite where a mode of law 0 is hit.

    counts and law (which sums to 1) are [K].  ValueError without a single draw.
    """
    if not counts.sum() > 0:
        raise ValueError("no draw fell into any mode, so there is no histogram and no KL")
    p, q = counts.to(torch.float64) / counts.sum(), law.to(torch.float64).to(counts.device)
    # xlogy: a mode that is not hit adds 0, not 0 * -inf
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum().clamp(min=0)


def expected_captured_modes(p: Tensor, n: int, least: int = 1) -> float:
    """The mean of `captured` over n draws of the law p [K]; p may sum to less than 1, the rest falling nowhere."""
    return round(float(binom.sf(least - 1, n, _array(p)).sum()), 9)  # 1e-22 of a mode is none


def expected_histogram_kl(p: Tensor, n: int, law: Tensor) -> float:
    """The mean of `divergence` over n draws of p [K], held against `law` [K]."""
    own, inverse = np.unique(_array(p), return_inverse=True)
    entropy = np.array([_expected_log(n, one) for one in own])[inverse].sum()
    return float(entropy - torch.special.xlogy(p.to(torch.float64), law.to(torch.float64)).sum())


def _expected_log(n: int, p: float) -> float:
    """E[(X / n) ln(X / n)] for X of Binomial(n, p)."""
    low, high = binom.ppf(TAILS, n, p), binom.isf(TAILS, n, p)
    x = np.arange(max(1, int(low)), int(high) + 1)
    return math.fsum(binom.pmf(x, n, p) * (x / n) * np.log(x / n))


def _array(p: Tensor) -> np.ndarray:
    return p.to(torch.float64).cpu().numpy()
