"""A readout that uses a classifier of K classes as the discriminator.

Class K + 1, "fake", has the logit 0. With Z = sum over k of exp(l_k), the probability of being real is
D = Z / (Z + 1) = sigmoid(log Z), so D's logit is log Z = LogSumExp(l). The readout has no parameters.

Salimans et al. 2016 (arXiv:1606.03498), section 5.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.turn import Condition


class LogSumExp(nn.Module):
    """log Z of the K logits of `head`; `features` is ignored."""

    def __init__(self, features: int, head: str = "label") -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor, condition: Condition, heads: Mapping[str, Tensor]) -> Tensor:
        """Return logits [N] from heads[head] [N, K].  Raises Mistake if the discriminator has no such head."""
        if self.head not in heads:
            raise Mistake(
                f"the readout log_sum_exp reads head {self.head}, but the discriminator's heads are "
                f"{', '.join(heads) or 'none'}. Add 'architecture.discriminator.heads={{{self.head}: 10}}'"
            )
        return heads[self.head].logsumexp(1)

    def extra_repr(self) -> str:
        return f"head={self.head}"
