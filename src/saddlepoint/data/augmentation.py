"""Random mirroring and cropping of training images, alike for all images of one row: x and its image columns.

The draws depend only on the seed and the position in the stream, so that ranks and resumed runs agree.  They are not
used in evaluation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saddlepoint.data.labelled_subset import index_stream
from saddlepoint.error import Mistake
from saddlepoint.stream import derive_seed


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a set of n images that are shown `size` per batch of `batch` images.

    flip    whether an image is mirrored left to right, with probability 1/2
    jitter  pixels: an image is enlarged by this number per side (bilinear), and a random crop of its own size is taken;
            Isola et al. 2016 (arXiv:1611.07004), section 6.2: 30 for 256 x 256
    names   names of the stream below `augment`
    """

    n: int
    batch: int
    size: int
    seed: int
    flip: bool = False
    jitter: int = 0
    names: tuple[str, ...] = ()

    def draws(self, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """Yield a draw for each of this rank's rows of each batch, int64 [rows, 1 or 2], from image `start` on.

        The first column is odd for images that are mirrored; with jitter, the second is the number of a crop.  Without
        augmentation the draws are empty.
        """
        if not (self.flip or self.jitter):
            return repeat(torch.empty(0))
        # an index into two epochs is odd half of the times
        sets = [(2 * self.n, self.names), ((self.jitter + 1) ** 2, (*self.names, "crop"))][: 1 + bool(self.jitter)]
        streams = [
            index_stream(
                items, self.batch, self.size, derive_seed(self.seed, "augment", *names), start, rank, world_size
            )
            for items, names in sets
        ]
        return (torch.stack(columns, 1) for columns in zip(*streams, strict=False))

    def apply(self, x: Tensor, draw: Tensor) -> Tensor:
        """Return images [n, C, H, W], mirrored and cropped by `draw`, a row of `draws` per image."""
        if self.flip:
            x = torch.where((draw[:, 0] % 2 == 1).to(x.device)[:, None, None, None], x.flip(-1), x)
        return crop(x, self.jitter, draw[:, 1]) if self.jitter else x


def check_jitter(jitter: int) -> int:
    """Return data.jitter.  Raises Mistake if it is not a number of pixels of at least 0."""
    if type(jitter) is not int or jitter < 0:
        raise Mistake(f"data.jitter={jitter}: must be a number of pixels of at least 0.")
    return jitter


def crop(x: Tensor, jitter: int, position: Tensor) -> Tensor:
    """Enlarge images [n, C, H, W] by `jitter` pixels per side and return the crop [n, C, H, W] at each position.

    position  int64 [n], row * (jitter + 1) + column of the upper left corner
    """
    height, width = x.shape[2:]
    large = interpolate(x, (height + jitter, width + jitter), mode="bilinear", align_corners=False)
    corners = [divmod(number, jitter + 1) for number in position.tolist()]
    crops = [
        image[:, top : top + height, left : left + width] for image, (top, left) in zip(large, corners, strict=True)
    ]
    return torch.stack(crops) if crops else x
