"""Gradient penalty: E(||grad D(x^)|| - 1)^2 between real and fake.  Gulrajani et al. 2017 (arXiv:1704.00028), eq. 3."""

from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.stream import Stream
from saddlepoint.turn import Sample, Turn


class GradientPenalty(Regularizer):
    """Penalty at x^ = e x + (1 - e) G(z), e ~ U(0, 1) per sample; the paper uses weight 10 (0.1 on toy data)."""

    needs_sample_slope = needs_draw = True

    def draw(self, n: int, stream: Stream) -> Tensor:
        """Draw the interpolation coefficients, one per real, [n]."""
        return stream.uniform(n)

    def forward(self, turn: Turn) -> Tensor:
        """Return E(||grad D(x^)|| - 1)^2, a scalar.  1e-12 under the root keeps the gradient finite at slope 0."""
        return ((squared_slope(interpolated(turn)) + 1e-12).sqrt() - 1).square().mean()


def interpolated(turn: Turn) -> Sample:
    """Return the samples x^ between real and fake, leaves that require grad, with the coefficients turn.term_draw."""
    real = turn["real"].x.detach()
    fake = turn["fake"].x.detach()[: len(real)]  # one fake per real, if there are more fakes
    e = turn.term_draw[: len(real)].view(-1, *(1,) * (real.ndim - 1))
    return Sample((e * real + (1 - e) * fake).requires_grad_(), turn["real"].condition, turn["real"].judge)
