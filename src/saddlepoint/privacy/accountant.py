"""The privacy accountant of DP-SGD: Renyi differential privacy (RDP) of the Poisson-sampled Gaussian mechanism.

One step releases  sum of the sampled vectors, each of norm <= C,  + N(0, sigma^2 C^2 I),  where every record is sampled
with probability q.  With one record added or removed, the Renyi divergence of order alpha is at most

    rdp(alpha) = log(A) / (alpha - 1),  A = E_{z ~ N(0, sigma^2)} [((1 - q) + q exp((2z - 1) / (2 sigma^2)))^alpha]

(Mironov, Talwar & Zhang 2019, arXiv:1908.10530, theorem 4; A is the sum of section 3.3).  The rdp of steps add up, and
for every alpha > 1 they imply (epsilon, delta)-DP with

    epsilon = rdp(alpha) + log(1 - 1/alpha) - log(alpha delta) / (alpha - 1)

(Canonne, Kamath & Steinke 2020, arXiv:2004.00010, proposition 12; Balle et al. 2020, arXiv:1905.09982, theorem 21).
"""

import math
from functools import cache

import numpy as np
from scipy.special import gammaln, gammasgn, log_ndtr, logsumexp

ORDERS = np.concatenate([np.arange(5, 41) / 4, np.arange(11, 64), [80, 96, 128, 256, 512, 1024]])
PRECISION = 28.0  # terms below exp(-28) of the sum are left out
MOST_TERMS = 2**20
DIGITS = 1e4  # a computed noise is rounded up to four decimals


def renyi_divergence(rate: float, noise: float, order: float) -> float:
    """rdp(order) of one step: `rate` q in [0, 1], `noise` sigma >= 0, `order` alpha > 1."""
    if rate == 0:
        return 0.0
    if noise == 0:
        return math.inf
    if rate == 1:
        return order / (2 * noise**2)
    return max(0.0, _log_moment(rate, noise, order) / (order - 1))


def _log_moment(q: float, sigma: float, alpha: float) -> float:
    """log A: for an integer alpha the binomial sum, otherwise two series, for z below and above z0."""
    z0 = sigma**2 * math.log(1 / q - 1) + 0.5
    terms = int(alpha) + 1 if alpha == int(alpha) else 64
    while True:
        i = np.arange(terms, dtype=np.float64)
        log_binomial = gammaln(alpha + 1) - gammaln(i + 1) - gammaln(alpha - i + 1)
        j = alpha - i
        below = log_binomial + j * math.log1p(-q) + i * math.log(q) + (i * i - i) / (2 * sigma**2)
        if alpha == int(alpha):
            return float(np.asarray(logsumexp(below)))
        above = log_binomial + i * math.log1p(-q) + j * math.log(q) + (j * j - j) / (2 * sigma**2)
        logs = np.stack([below + log_ndtr((z0 - i) / sigma), above + log_ndtr((j - z0) / sigma)])
        total = float(np.asarray(logsumexp(logs, b=gammasgn(j + 1))))
        if logs[:, -1].max() < total - PRECISION or terms >= MOST_TERMS:
            return total
        terms *= 4


def spent_epsilon(rate: float, noise: float, steps: int, delta: float) -> float:
    """epsilon at `delta` after `steps` steps; 0 for no step, infinite without noise."""
    if not steps or not rate:
        return 0.0
    return max(0.0, float(np.min(steps * _divergences(rate, noise) + _conversion(delta))))


def least_epsilon(delta: float) -> float:
    """The epsilon of a step with infinite noise, which no setting goes below with these orders."""
    return max(0.0, float(np.min(_conversion(delta))))


def affordable_steps(rate: float, noise: float, epsilon: float, delta: float) -> int:
    """The largest number of steps with at most `epsilon` at `delta`; rate > 0."""
    return max(0, math.floor(np.max((epsilon - _conversion(delta)) / _divergences(rate, noise))))


def required_noise(rate: float, steps: int, epsilon: float, delta: float) -> float:
    """The smallest noise, to four decimals, for `steps` steps within `epsilon` > least_epsilon(delta) at `delta`."""
    low, high = 0.0, 1.0
    while affordable_steps(rate, high, epsilon, delta) < steps:
        low, high = high, 2 * high
    while high - low > 0.1 / DIGITS:
        middle = (low + high) / 2
        low, high = (low, middle) if affordable_steps(rate, middle, epsilon, delta) >= steps else (middle, high)
    return math.ceil(high * DIGITS) / DIGITS


@cache
def _divergences(rate: float, noise: float) -> np.ndarray:
    """rdp(alpha) of one step, by order."""
    return np.array([renyi_divergence(rate, noise, float(order)) for order in ORDERS])


def _conversion(delta: float) -> np.ndarray:
    """epsilon - rdp(alpha), by order."""
    return np.log1p(-1 / ORDERS) - np.log(ORDERS * delta) / (ORDERS - 1)
