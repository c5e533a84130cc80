"""Variational bound of the mutual information between codes and samples: -E log Q(c | G(z, c)), summed over codes.

    I(c; G(z, c)) >= H(c) + E log Q(c | G(z, c))

so descending the term raises the bound. Q is a head of D per code, with the name of the code. The term belongs to both
players: D's optimizer updates Q, the generator's updates G. A categorical code with k values has H(c) = log k, and its
term is a cross-entropy in nats; for a continuous code Q is N(head, I), up to a constant.
Chen et al. 2016 (arXiv:1606.03657), eq. 5; used in both updates as in the authors' code (openai/InfoGAN).
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import DiscriminatorOutput, Turn


class MutualInformation(Regularizer):
    """The sum over `codes` of the mean -log Q(code | head), for the samples of `side`.

    codes  parts of the prior; D needs a head of the same name and size for each
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
            raise ValueError("mutual_information: codes=[] must name a part of the prior")
        self.codes, self.side = tuple(codes), side

    def forward(self, turn: Turn) -> Tensor:
        """Return the term, a scalar.  Raises Mistake for a code that is missing in the prior or in the heads of D."""
        output = turn[self.side].output
        self.check_output(output)
        terms = [self._code_nll(turn, code, output.heads[code]) for code in self.codes]
        return sum(terms[1:], terms[0])

    def _code_nll(self, turn: Turn, code: str, head: Tensor) -> Tensor:
        if code not in turn.prior:
            raise Mistake(
                f"mutual_information: codes: the prior has no part {code}.{did_you_mean(code, turn.prior)} It has "
                f"{', '.join(turn.prior)}; prior=infogan adds codes"
            )
        value = turn.latent[code]
        if head.shape != value.shape:
            raise Mistake(
                f"mutual_information: the code {code} has shape {list(value.shape)}, but the head {code} has "
                f"{list(head.shape)}. Use 'architecture.discriminator.heads={{{code}: {value.shape[1]}}}'"
            )
        return turn.prior[code].nll(value, head)

    def check_output(self, output: DiscriminatorOutput) -> None:
        """Raise Mistake if D has no head with the name of a code."""
        if missing := [code for code in self.codes if code not in output.heads]:
            raise Mistake(
                f"mutual_information: the code {missing[0]} needs a head of the same name, but the heads are "
                f"{', '.join(output.heads) or 'none'}. Add 'architecture.discriminator.heads={{{missing[0]}: 10}}', "
                "with the size of the code"
            )
