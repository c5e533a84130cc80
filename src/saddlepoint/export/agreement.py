"""How far an exported generator is from the original: the largest difference of a value, over all latents.

    max |G_file(latent_i, y_i) - G(latent_i, y_i)|,  i = 1 ... 1000

The original makes its samples in two batches, the file in batches of SIZES, one of which is a single latent: a file
that has taken a batch's size for a constant, or that lets one latent see another, differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

SIZES = (1, 2, 7, 64, 256, 670)
LATENTS = sum(SIZES)
TOLERANCE = 1e-4  # of values in [-1, 1]: an eightieth of a grey level


@torch.no_grad()
def originals(network: Callable[..., Tensor], latent: Mapping[str, Tensor], y: Tensor | None) -> Tensor:
    """What `network`, in evaluation mode, makes of all latents, [LATENTS, *shape], half of them at a time."""
    halves = [slice(0, LATENTS // 2), slice(LATENTS // 2, LATENTS)]
    return torch.cat([network(_rows(latent, half), None if y is None else y[half]) for half in halves])


@torch.no_grad()
def difference(network: Callable[..., Any], latent: Mapping[str, Tensor], y: Tensor | None, expected: Tensor) -> float:
    """The largest difference of network(latent, y) from `expected`; infinite where a shape differs or is not finite."""
    largest = 0.0
    for first, last in pairwise(accumulate(SIZES, initial=0)):
        rows = slice(first, last)
        x = network(_rows(latent, rows), None if y is None else y[rows])
        if x.shape != expected[rows].shape or not x.isfinite().all():
            return float("inf")
        largest = max(largest, float((x - expected[rows]).abs().max()))
    return largest


def _rows(latent: Mapping[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {name: part[rows] for name, part in latent.items()}
