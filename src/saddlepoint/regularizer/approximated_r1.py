"""Approximated R1: E[(D(x) - D(x + s e))^2], e ~ N(0, I), at real x; first derivatives only.

Its expectation is s^2 E||grad D(x)||^2 + O(s^4), and exactly s^2 ||w||^2 for a linear D with weight w: a weight of
gamma / (2 s^2) corresponds to R1 with weight gamma.  Because D is evaluated twice and never differentiated twice, the
term works with compiled and sharded networks.  Used with s = 0.05 and weight 1/2 in adversarial post-training of audio
models (ARC) and with s = 0.1 in FastGen (LADD).  The difference is that of two logits in the precision of the run:
under bf16-mixed their rounding, 2^-9 of their size, must be small against s ||grad D||, so s must not be small.
"""

from collections.abc import Callable

from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.seeded_noise import seeded_noise
from saddlepoint.stream import Stream
from saddlepoint.turn import Sample, Turn


class ApproximatedR1(Regularizer):
    """The mean squared change of D's logits under noise of standard deviation `scale`, at the samples of `side`.

    Raises ValueError unless scale > 0.
    """

    needs_sample_slope = needs_draw = True
    side = "real"

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1, scale: float = 0.05) -> None:
        super().__init__(weight, every)
        if scale <= 0:
            raise ValueError(
                f"{type(self).__name__}: scale={scale} must be above 0: it is the noise's standard deviation"
            )
        self.scale = scale

    def draw(self, n: int, stream: Stream) -> Tensor:
        """A seed for the noise of each sample, int64 [n]: the shape of a sample is known in the turn."""
        return stream.integers(2**31 - 1, n)

    def forward(self, turn: Turn) -> Tensor:
        """E[(D(x) - D(x + s e))^2], a scalar."""
        sample = turn[self.side]
        n = len(turn.term_draw)  # one per real; of several fakes per real the first n
        x = sample.x[:n].detach()
        condition = {name: entry[:n] for name, entry in sample.condition.items()}
        noisy = Sample(x + self.scale * seeded_noise(turn.term_draw, x), condition, sample.judge)
        return (sample.logits[:n] - noisy.logits).square().mean()
