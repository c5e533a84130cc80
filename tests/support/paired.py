"""A data set of a researcher's own: 4 x 4 images, each beside its negative, with a colour and attributes."""

import torch

from saddlepoint.data.data import Data, Split


class Pairs(Data):
    """x uint8 [n, 1, 4, 4]; source 255 - x; colour int64 [n] of 3; attributes float32 [n, 2]."""

    name = "pairs"

    def __init__(self, shape=(1, 4, 4), classes=2, extractor="identity", batch=8, seed=0, **labelled):
        super().__init__(shape, classes, extractor, batch, seed, **labelled)

    def splits(self):
        draw = torch.Generator().manual_seed(0)
        sizes = {"train": 64, "validation": 20, "test": 20}
        return {name: self._split(name, n, draw) for name, n in sizes.items()}

    def _split(self, name, n, draw):
        x = torch.randint(256, (n, 1, 4, 4), generator=draw, dtype=torch.uint8)
        y, colour = (torch.randint(k, (n,), generator=draw) for k in (2, 3))
        more = {"source": 255 - x, "colour": colour, "attributes": torch.rand(n, 2, generator=draw)}
        return Split(name, x, y, 2, more)
