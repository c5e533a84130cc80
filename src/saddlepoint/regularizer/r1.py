"""R1: E||grad D(x)||^2 / 2 at real x.  Mescheder et al. 2018 (arXiv:1801.04406), eq. 9."""

from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.turn import Turn


class R1(Regularizer):
    """Half the mean squared slope on reals; `weight` is the gamma of StyleGAN2 and R3GAN."""

    slope_at = frozenset({"real"})

    def forward(self, turn: Turn) -> Tensor:
        """Return E||grad D(x)||^2 / 2, a scalar."""
        return squared_slope(turn["real"]).mean() / 2
