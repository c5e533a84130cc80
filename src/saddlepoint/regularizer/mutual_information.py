"""Mutual information between codes and samples, by its variational bound: -E log Q(c | G(z, c)), summed over codes.

    I(c; G(z, c)) >= H(c) + E log Q(c | G(z, c))

so descending the term raises the bound. Q is a head of D per code, named as the code is, and the term stands in both
columns: D's optimizer moves Q, the generator's moves G. A categorical code of k values has H(c) = log k, and its term
is a cross-entropy in nats; of a continuous code Q is N(head, I), up to a constant.
Chen et al. 2016 (arXiv:1606.03657), eq. 5; in both updates as in the authors' code (openai/InfoGAN).
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import DiscriminatorOutput, Turn


class MutualInformation(Regularizer):
    """The sum over `codes` of the mean -log Q(code | head of that name), at the samples of `side`.

    codes  parts of the prior, each with a head of D of its name and of its size
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        codes: Sequence[str] = ("category",),
        side: str = "fake",
    ) -> None:
        super().__init__(weight, every)
        if not codes:
            raise ValueError("mutual_information: codes=[] names no part of the prior")
        self.codes, self.side = tuple(codes), side

    def forward(self, turn: Turn) -> Tensor:
        """The term, a scalar.  Raises Mistake for a code that the prior or the judge does not have."""
        output = turn[self.side].output
        self.check_output(output)
        terms = [self._nll(turn, code, output.heads[code]) for code in self.codes]
        return sum(terms[1:], terms[0])

    def _nll(self, turn: Turn, code: str, head: Tensor) -> Tensor:
        if code not in turn.prior:
            raise Mistake(
                f"mutual_information: codes: the prior has no part {code}.{did_you_mean(code, turn.prior)} It has "
                f"{', '.join(turn.prior)}; prior=infogan adds codes"
            )
        value = turn.latent[code]
        if head.shape != value.shape:
            raise Mistake(
                f"mutual_information: the code {code} has shape {list(value.shape)} and the head {code} "
                f"{list(head.shape)}. Say 'architecture.discriminator.heads={{{code}: {value.shape[1]}}}'"
            )
        return turn.prior[code].nll(value, head)

    def check_output(self, output: DiscriminatorOutput) -> None:
        """Raises Mistake where D has no head of a code's name."""
        if missing := [code for code in self.codes if code not in output.heads]:
            raise Mistake(
                f"mutual_information: the code {missing[0]} needs a head of its name, and the heads are "
                f"{', '.join(output.heads) or 'none'}. Say 'architecture.discriminator.heads={{{missing[0]}: 10}}', as "
                "many as the code has numbers"
            )
