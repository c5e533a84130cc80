"""The largest difference between an exported generator and the original, over all rows and values.

    max |G_file(latent_i, condition_i) - G(latent_i, condition_i)|,  i = 1 ... n,  n = min(1000, available rows)

The original makes its samples in two batches. The file makes them in batches of SIZES until the rows end; one of these
batches has a single row. A file in which the batch size is a constant, or in which rows affect each other, differs.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

SIZES = (1, 2, 7, 64, 256, 670)
ROWS = sum(SIZES)  # at most
TOLERANCE = 1e-4  # of values in [-1, 1]: an eightieth of a grey level
Tensors = Mapping[str, Tensor]


def batch_sizes(n: int) -> list[int]:
    """Return the batch sizes in which a file makes n rows, at most 1,000: those of SIZES, the last one cut to n."""
    ends = [min(end, n) for end in accumulate(SIZES, initial=0)]
    return [last - first for first, last in pairwise(ends) if last > first]


@torch.no_grad()
def original_samples(network: Callable[[Tensors, Tensors], Tensor], latent: Tensors, condition: Tensors) -> Tensor:
    """Return the samples of `network`, in evaluation mode, for all rows, [n, *shape], computed in two batches."""
    n = len(next(iter({**latent, **condition}.values())))
    halves = [n] if n == 1 else [n // 2, n - n // 2]
    return torch.cat([network(*batch) for batch in batches(latent, condition, halves)])


@torch.no_grad()
def measure_max_difference(
    network: Callable[[Tensors, Tensors], Any], latent: Tensors, condition: Tensors, expected: Tensor
) -> float:
    """Return the largest absolute difference between network(latent, condition) and `expected`.

    Infinite if a shape or type differs, or if a value is not finite.
    """
    largest = 0.0
    sizes = batch_sizes(len(expected))
    for inputs, target in zip(batches(latent, condition, sizes), expected.split(sizes), strict=True):
        x = network(*inputs)
        if (x.shape, x.dtype) != (target.shape, target.dtype) or not x.isfinite().all():
            return float("inf")
        largest = max(largest, float((x - target).abs().max()))
    return largest


def batches(latent: Tensors, condition: Tensors, sizes: list[int]) -> Iterator[tuple[Tensors, Tensors]]:
    """Yield (latent, condition) in batches of these sizes, in order."""
    for first, last in pairwise(accumulate(sizes, initial=0)):
        latent_rows = {name: rows[first:last] for name, rows in latent.items()}
        yield latent_rows, {name: rows[first:last] for name, rows in condition.items()}
