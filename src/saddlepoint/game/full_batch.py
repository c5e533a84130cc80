"""Networks in which a sample's output depends on the samples beside it, in evaluation mode too.

Minibatch discrimination and its kin (a layer that says `coupled`), and batch norm that keeps no running statistics.
How such a network answers depends on how many samples it is asked at once, so a discriminator is asked by batches of
the size that it is trained on, all of them full.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saddlepoint.game.average import BatchNorm


def batch_dependent(network: nn.Module) -> bool:
    """Whether an output of `network`, in evaluation mode, depends on the rest of its batch."""
    return any(
        getattr(module, "coupled", False) or (isinstance(module, BatchNorm) and module.running_mean is None)
        for module in network.modules()
    )


def full_batches(n: int, size: int) -> list[Tensor]:
    """n rows, in order, as batches of `size`: int64 [size] each; of fewer rows than that, one batch.

    The last is filled up with the first rows again: the answers to these come after the n-th, and are to be dropped.
    """
    return list(torch.arange(n if n < size else -(-n // size) * size).remainder(n).split(size))
