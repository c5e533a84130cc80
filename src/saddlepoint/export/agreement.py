"""How far an exported generator is from the original: the largest difference of a value, over all rows.

    max |G_file(latent_i, condition_i) - G(latent_i, condition_i)|,  i = 1 ... n,  n = min(1000, what there is)

The original makes its samples in two batches, the file in batches of SIZES as far as the rows go, one of which is a
single row: a file that has taken a batch's size for a constant, or that lets one row see another, differs.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

SIZES = (1, 2, 7, 64, 256, 670)
ROWS = sum(SIZES)  # at most
TOLERANCE = 1e-4  # of values in [-1, 1]: an eightieth of a grey level
Named = Mapping[str, Tensor]


def batch_sizes(n: int) -> list[int]:
    """The batches in which a file is asked for n rows, 1,000 at most: those of SIZES, the last one as the rows end."""
    ends = [min(end, n) for end in accumulate(SIZES, initial=0)]
    return [last - first for first, last in pairwise(ends) if last > first]


@torch.no_grad()
def original_samples(network: Callable[[Named, Named], Tensor], latent: Named, condition: Named) -> Tensor:
    """What `network`, in evaluation mode, makes of all rows, [n, *shape], half of them at a time."""
    n = len(next(iter({**latent, **condition}.values())))
    halves = [n] if n == 1 else [n // 2, n - n // 2]
    return torch.cat([network(*part) for part in batches(latent, condition, halves)])


@torch.no_grad()
def max_difference(network: Callable[[Named, Named], Any], latent: Named, condition: Named, expected: Tensor) -> float:
    """The largest difference of network(latent, condition) from `expected`.

    Infinite where a shape or type differs, or a value is not finite.
    """
    largest = 0.0
    asked = batch_sizes(len(expected))
    for part, wanted in zip(batches(latent, condition, asked), expected.split(asked), strict=True):
        x = network(*part)
        if (x.shape, x.dtype) != (wanted.shape, wanted.dtype) or not x.isfinite().all():
            return float("inf")
        largest = max(largest, float((x - wanted).abs().max()))
    return largest


def batches(latent: Named, condition: Named, asked: list[int]) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The rows in batches of these sizes, in order."""
    for first, last in pairwise(accumulate(asked, initial=0)):
        part, own = ({name: rows[first:last] for name, rows in named.items()} for named in (latent, condition))
        yield part, own
