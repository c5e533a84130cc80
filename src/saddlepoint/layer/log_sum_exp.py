"""A readout that makes a classifier of K classes judge what is real.

Class K + 1, "made up", has the logit 0, so with Z = sum over k of exp(l_k) the probability of being real is
D = Z / (Z + 1) = sigmoid(log Z), and log Z = LogSumExp(l) is D's logit. It needs no weights of its own.

Salimans et al. 2016 (arXiv:1606.03498), section 5.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.turn import Condition


class LogSumExp(nn.Module):
    """log Z of the K logits of `head`; `features` are no matter to it."""

    def __init__(self, features: int, head: str = "label") -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor, condition: Condition, heads: Mapping[str, Tensor]) -> Tensor:
        """Logits [N] of heads[head] [N, K].  Raises Mistake where the discriminator has no such head."""
        if self.head not in heads:
            raise Mistake(
                f"the readout log_sum_exp reads head {self.head}, and the discriminator's heads are "
                f"{', '.join(heads) or 'none'}. Say 'architecture.discriminator.heads={{{self.head}: 10}}'"
            )
        return heads[self.head].logsumexp(1)

    def extra_repr(self) -> str:
        return f"head={self.head}"
