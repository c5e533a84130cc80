"""The mask of an inpainting task: 1 inside a box, the region to fill in.

A centred box with half of each side: Pathak et al. 2016 (arXiv:1604.07379), section 3.3.  A random position: Iizuka et
al. 2017 (ACM TOG 36:107), section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from saddlepoint.prior.prior import LatentPart
from saddlepoint.stream import Stream

PLACES = ("centre", "random")


class BoxMask(LatentPart):
    """Masks [n, 1, *space] for samples of `shape` [C, *space], images [C, H, W] or audio [C, L]: 1 in the box, else 0.

    fraction  length of each side of the box, as a fraction in (0, 1] of the side of the sample
    place     centre: the same for all masks; random: uniform, drawn for each mask
    Raises ValueError for a shape without spatial axes, and for another fraction or place.
    """

    def __init__(self, shape: Sequence[int], fraction: float = 0.5, place: str = "centre") -> None:
        super().__init__(1)
        if len(shape) < 2:
            raise ValueError(f"BoxMask: shape={list(shape)} has no spatial axes; use images or audio")
        if not 0 < fraction <= 1:
            raise ValueError(f"BoxMask: fraction={fraction} must be above 0 and at most 1")
        if place not in PLACES:
            raise ValueError(f"BoxMask: place={place} must be {' or '.join(PLACES)}")
        self.space, self.place = tuple(shape[1:]), place
        self.sides = tuple(max(1, round(fraction * side)) for side in self.space)

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw n masks, [n, 1, *space]."""
        n_positions = torch.tensor([size - side + 1 for size, side in zip(self.space, self.sides, strict=True)])
        if self.place == "centre":
            first = ((n_positions - 1) // 2).expand(n, -1).to(stream.device)
        else:
            first = (stream.uniform(n, len(self.space)) * n_positions.to(stream.device)).long()
        mask = torch.ones(n, *self.space, dtype=torch.bool, device=first.device)
        for dim, (size, side) in enumerate(zip(self.space, self.sides, strict=True)):
            position = torch.arange(size, device=first.device)
            inside = (position >= first[:, dim, None]) & (position < first[:, dim, None] + side)
            mask &= inside.view(n, *(size if d == dim else 1 for d in range(len(self.space))))
        return mask[:, None].to(torch.get_default_dtype())
