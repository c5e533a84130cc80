"""g ~ Gumbel(0, 1): argmax(logits + g) is a sample of softmax(logits).  Gumbel 1954; Maddison et al. 2014."""

import math
from collections.abc import Sequence

from torch import Tensor

from saddlepoint.prior.prior import LatentPart
from saddlepoint.stream import Stream


class Gumbel(LatentPart):
    """Independent standard Gumbels, one per number of a sample of `shape`."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(math.prod(shape))

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw n rows, [n, dim]."""
        return stream.gumbel(n, self.dim)
