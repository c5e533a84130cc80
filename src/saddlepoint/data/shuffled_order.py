"""The order of an endless stream: position p shows item permutation(p // n)[p % n].

The permutation of an epoch is a pure function of (seed, epoch), so a stream starts at any position, without replay and
without any state to save but the position itself.
"""

import torch
from torch import Tensor

from saddlepoint.stream import derive_seed


class ShuffledOrder:
    """The order of n items under a seed; keeps the two latest permutations, for a batch may cross an epoch's border."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self._kept: dict[int, Tensor] = {}

    def permutation(self, epoch: int) -> Tensor:
        """The items of one epoch, int64 [n], each once."""
        if epoch not in self._kept:
            source = torch.Generator().manual_seed(derive_seed(self.seed, "data", epoch))
            self._kept[epoch] = torch.randperm(self.n, generator=source)
            if len(self._kept) > 2:
                del self._kept[next(iter(self._kept))]
        return self._kept[epoch]

    def indices(self, start: int, stop: int) -> Tensor:
        """The items at positions start, ..., stop - 1, int64 [stop - start]."""
        parts = []
        while start < stop:
            epoch, first = divmod(start, self.n)
            part = self.permutation(epoch)[first : first + stop - start]
            parts.append(part)
            start += len(part)
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)
