"""Recall: the fraction of reals that lie among the fakes; precision with the two sides exchanged.

    (1 / N) sum_i 1[some Y_j has ||X_i - Y_j|| <= NND_k(Y_j)]        in [0, 1], for N reals X and M = N fakes Y

Kynkaanniemi et al. 2019 (arXiv:1904.06991, section 2, eq. 1 and 2).  The balls are those of the fakes, so their number
matters: N = M is the smaller of the two numbers, and both sides are chosen by a fixed permutation.  Scattered fakes
have large balls and therefore a high recall; coverage does not have this flaw.
"""

from typing import Any

from torch import Tensor

from saddlepoint.metric.precision import Precision, precision


def recall(real: Tensor, fake: Tensor, k: int = 3) -> Tensor:
    """Recall of real [N, d] by fake [M, d], a float64 scalar.  Raises ValueError if M <= k."""
    return precision(fake, real, k)


class Recall(Precision):
    """Recall of the features of the reals by those of the fakes."""

    def compute(self) -> Tensor:
        """Return the recall, float64.  Raises ValueError if there are k fakes or fewer."""
        reference, fake = self.reference_and_fakes()
        return recall(reference["real"], self.draw_fixed(fake, len(reference["real"])), self.k)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return super().settings(n_real, min(n_real, n_fake))

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return the chosen reals."""
        return {"real": self.draw_fixed(self.all_rows("real"), n_fake)}
