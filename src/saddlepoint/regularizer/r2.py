"""R2: E||grad D(G(z))||^2 / 2 at fakes.  Mescheder et al. 2018 (arXiv:1801.04406), eq. 10."""

from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.turn import Turn


class R2(Regularizer):
    """Half the mean squared slope on fakes; `weight` is the gamma of R3GAN."""

    slope_at = frozenset({"fake"})

    def forward(self, turn: Turn) -> Tensor:
        """Return E||grad D(G(z))||^2 / 2, a scalar."""
        return squared_slope(turn["fake"]).mean() / 2
