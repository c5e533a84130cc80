"""z ~ N(0, I)."""

from torch import Tensor

from saddlepoint.prior.prior import LatentPart
from saddlepoint.stream import Stream


class Normal(LatentPart):
    """dim independent standard normals."""

    span = (-2.0, 2.0)  # the central 95%

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw n rows, [n, dim]."""
        return stream.normal(n, self.dim)

    def nll(self, code: Tensor, prediction: Tensor) -> Tensor:
        """E||code - prediction||^2 / 2: Q is N(prediction, I)."""
        return (code - prediction).square().sum(1).mean() / 2
