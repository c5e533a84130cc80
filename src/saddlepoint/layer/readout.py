"""How features become logits."""

from collections.abc import Mapping

from torch import Tensor, nn

from saddlepoint.turn import Condition


class LinearReadout(nn.Module):
    """One logit, w . f + b."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)

    def forward(self, features: Tensor, condition: Condition, heads: Mapping[str, Tensor]) -> Tensor:
        """Logits [N] of features [N, F]; condition and heads are for readouts that use them."""
        return self.linear(features)[:, 0]
