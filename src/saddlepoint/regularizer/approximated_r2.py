"""Approximated R2: E[(D(x) - D(x + s e))^2], e ~ N(0, I), at fakes x; see `approximated_r1`."""

from saddlepoint.regularizer.approximated_r1 import ApproximatedR1


class ApproximatedR2(ApproximatedR1):
    """The same term at the generator's samples, which are constants here."""

    side = "fake"
