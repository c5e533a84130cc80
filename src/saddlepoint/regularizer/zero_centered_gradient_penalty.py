"""Zero-centred gradient penalty: E||grad D(x^)||^2, x^ between real and fake.  Thanh-Tung et al. 2019, sec. 5.

arXiv:1902.03984; x^ = e x + (1 - e) G(z), e ~ U(0, 1) per sample.  At the equilibrium the slope is 0, and not 1
as in `gradient_penalty`.
"""

from torch import Tensor

from saddlepoint.regularizer.gradient_penalty import GradientPenalty, interpolated
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.turn import Turn


class ZeroCenteredGradientPenalty(GradientPenalty):
    """The mean squared slope at points between real and fake."""

    def forward(self, turn: Turn) -> Tensor:
        """E||grad D(x^)||^2, a scalar."""
        return squared_slope(interpolated(turn)).mean()
