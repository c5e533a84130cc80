"""A box to be filled in: the mask of an inpainting task, 1 in the hole.

The centre, with half of each side: Pathak et al. 2016 (arXiv:1604.07379), section 3.3; a random place: Iizuka et al.
2017 (ACM TOG 36:107), section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from saddlepoint.prior.prior import LatentPart
from saddlepoint.stream import Stream

PLACES = ("centre", "random")


class BoxMask(LatentPart):
    """[n, 1, *space] for samples of `shape` [C, *space], images [C, H, W] or audio [C, L]: 1 in the hole, else 0.

    fraction  of each side that the hole takes, above 0 and at most 1
    place     centre: the same for all; random: each mask's own, every place as likely as the other
    Raises ValueError for a shape without space, and for another fraction or place.
    """

    def __init__(self, shape: Sequence[int], fraction: float = 0.5, place: str = "centre") -> None:
        super().__init__(1)
        if len(shape) < 2:
            raise ValueError(f"BoxMask: shape={list(shape)} has no place for a box; it takes images or audio")
        if not 0 < fraction <= 1:
            raise ValueError(f"BoxMask: fraction={fraction} must be above 0 and at most 1")
        if place not in PLACES:
            raise ValueError(f"BoxMask: place={place} must be {' or '.join(PLACES)}")
        self.space, self.place = tuple(shape[1:]), place
        self.sides = tuple(max(1, round(fraction * side)) for side in self.space)

    def sample(self, n: int, stream: Stream) -> Tensor:
        """n masks, [n, 1, *space]."""
        room = torch.tensor([side - own + 1 for side, own in zip(self.space, self.sides, strict=True)])
        if self.place == "centre":
            first = ((room - 1) // 2).expand(n, -1).to(stream.device)
        else:
            first = (stream.uniform(n, len(self.space)) * room.to(stream.device)).long()
        mask = torch.ones(n, *self.space, dtype=torch.bool, device=first.device)
        for dim, (side, own) in enumerate(zip(self.space, self.sides, strict=True)):
            place = torch.arange(side, device=first.device)
            inside = (place >= first[:, dim, None]) & (place < first[:, dim, None] + own)
            mask &= inside.view(n, *(side if d == dim else 1 for d in range(len(self.space))))
        return mask[:, None].to(torch.get_default_dtype())
