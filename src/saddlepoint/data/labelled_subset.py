"""Semi-supervised training: which training images are labelled, and the batches of labelled images.

A random permutation of the training images, with its own seed, selects the first n images of each class.  The labelled
batches are consecutive slices of an endless sequence of permutations of these images (see `shuffled_order`), so each is
shown equally often.  The batch of the round that begins at image p starts at position p / batch * labelled_batch of
that sequence, so a resumed run needs no further state.

Salimans et al. 2016 (arXiv:1606.03498), section 5 and code: balanced classes, labels independent of the run's seed.
"""

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor

from saddlepoint.data.shuffled_order import ShuffledOrder
from saddlepoint.error import Mistake
from saddlepoint.stream import Stream, derive_seed


def draw_labelled_indices(y: Tensor, classes: int, n: int, seed: int) -> Tensor:
    """Return the indices of n items of each class, int64 [classes * n], class by class; y holds all items' classes.

    A larger n with the same seed selects the same items and more.  Raises Mistake if a class has fewer than n items.
    """
    sizes = torch.bincount(y, minlength=classes)
    if (short := int(sizes.argmin())) is not None and sizes[short] < n:
        raise Mistake(
            f"data.labels={n} per class, but class {short} has only {int(sizes[short]):,} training images. "
            f"Set data.labels={int(sizes[short])} or fewer."
            if sizes[short]
            else f"data.labels={n}: class {short} has no training images, so the classes cannot be balanced."
        )
    shuffled = torch.randperm(len(y), generator=Stream(seed, "labels").generator)
    return torch.cat([shuffled[y[shuffled] == label][:n] for label in range(classes)])


def index_stream(
    n: int, batch: int, size: int, seed: int, start: int = 0, rank: int = 0, world_size: int = 1
) -> Iterator[Tensor]:
    """Yield the indices among n items that this rank uses in each round, without end, from real image `start` on.

    batch   real images per round
    size    items per round, over all ranks
    """
    order, per_rank = ShuffledOrder(n, derive_seed(seed, "labelled")), size // world_size
    firsts = count(start * size // batch + rank * per_rank, size)
    return (order.indices(first, first + per_rank) for first in firsts)
