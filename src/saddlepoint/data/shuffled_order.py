"""The order of an endless stream of shuffled epochs: position p is item permutation(p // n)[p % n].

The permutation of an epoch is a pure function of (seed, epoch), so a stream can start at any position; the position is
the only state to save.
"""

import torch
from torch import Tensor

from saddlepoint.stream import derive_seed


class ShuffledOrder:
    """The order of n items for a seed; caches the two latest permutations, since a batch may span two epochs."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self._permutations: dict[int, Tensor] = {}

    def permutation(self, epoch: int) -> Tensor:
        """Return the items of one epoch, int64 [n], each once."""
        if epoch not in self._permutations:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "data", epoch))
            self._permutations[epoch] = torch.randperm(self.n, generator=generator)
            if len(self._permutations) > 2:
                del self._permutations[next(iter(self._permutations))]
        return self._permutations[epoch]

    def indices(self, start: int, stop: int) -> Tensor:
        """Return the items at positions start, ..., stop - 1, int64 [stop - start]."""
        chunks = []
        while start < stop:
            epoch, first = divmod(start, self.n)
            chunk = self.permutation(epoch)[first : first + stop - start]
            chunks.append(chunk)
            start += len(chunk)
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks or [torch.empty(0, dtype=torch.int64)])
