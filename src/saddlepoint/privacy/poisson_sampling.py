"""Poisson sampling: every one of n items is in a batch with probability q, independently of all others.

The size of a batch varies, with mean q n, and may be 0. Batch number k is a pure function of (seed, k), so a run that
resumes at round k trains on the batches of one without a stop.
"""

import torch
from torch import Tensor

from saddlepoint.stream import derive_seed


def poisson_sample(n: int, rate: float, seed: int, number: int) -> Tensor:
    """The items of batch `number`, int64 [random size], in order; `rate` is q in [0, 1]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "poisson sampling", number))
    return (torch.rand(n, generator=generator, dtype=torch.float64) < rate).nonzero().flatten()
