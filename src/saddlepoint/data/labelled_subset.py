"""Few labels: which training images have one, and the batches of them.

The training images are permuted by a seed of their own, and the first n of each class are the labelled ones. Their
batches are successive stretches of permutations of them, one after another without end (`order`), so that each is shown
as often as any other; the labelled batch of the round that begins at image p begins at position p / batch x labelled
batch, which is all that a resumed run needs to know.

Salimans et al. 2016 (arXiv:1606.03498), section 5, and its code: labels that no run's seed decides, balanced classes.
"""

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor

from saddlepoint.data.shuffled_order import ShuffledOrder
from saddlepoint.error import Mistake
from saddlepoint.stream import Stream, derive_seed


def draw_labelled_indices(y: Tensor, classes: int, n: int, seed: int) -> Tensor:
    """The rows of n labelled items of each class, int64 [classes x n], class by class, of all items' classes y.

    More of the same seed are the same ones and further ones.  Raises Mistake where a class has fewer than n.
    """
    sizes = torch.bincount(y, minlength=classes)
    if (short := int(sizes.argmin())) is not None and sizes[short] < n:
        raise Mistake(
            f"data.labels={n}: class {short} has {int(sizes[short]):,} training images only. "
            f"Say data.labels={int(sizes[short])} or fewer, so many per class."
            if sizes[short]
            else f"data.labels={n}: class {short} has no training images, so the classes cannot be balanced."
        )
    shuffled = torch.randperm(len(y), generator=Stream(seed, "labels").generator)
    return torch.cat([shuffled[y[shuffled] == label][:n] for label in range(classes)])


def index_stream(
    n: int, batch: int, size: int, seed: int, start: int = 0, rank: int = 0, world: int = 1
) -> Iterator[Tensor]:
    """Which of n labelled items this rank shows, `size` per round over all ranks, from real image `start` on.

    `batch` is the number of reals per round.
    """
    order, own = ShuffledOrder(n, derive_seed(seed, "labelled")), size // world
    firsts = count(start * size // batch + rank * own, size)
    return (order.indices(first, first + own) for first in firsts)
