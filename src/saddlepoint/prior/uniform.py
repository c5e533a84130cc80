"""z ~ U[low, high)^dim."""

from torch import Tensor

from saddlepoint.prior.prior import LatentPart
from saddlepoint.stream import Stream


class Uniform(LatentPart):
    """dim independent uniforms.  low=-1, high=1 in DCGAN; -sqrt 3, sqrt 3 in the code of Goodfellow et al. 2014."""

    def __init__(self, dim: int, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__(dim)
        if not low < high:
            raise ValueError(f"Uniform: low={low} must be below high={high}")
        self.low, self.high = low, high
        self.span = (low, high)

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw n rows in [low, high), [n, dim]."""
        return self.low + (self.high - self.low) * stream.uniform(n, self.dim)

    def nll(self, code: Tensor, prediction: Tensor) -> Tensor:
        """E||code - prediction||^2 / 2: Q is N(prediction, I), as in InfoGAN for continuous codes."""
        return (code - prediction).square().sum(1).mean() / 2
