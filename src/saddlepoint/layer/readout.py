"""Readouts: from features to logits."""

from collections.abc import Mapping

from torch import Tensor, nn

from saddlepoint.turn import Condition


class LinearReadout(nn.Module):
    """One logit, w . f + b."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)

    def forward(self, features: Tensor, condition: Condition, heads: Mapping[str, Tensor]) -> Tensor:
        """Return logits [N] for features [N, F]; condition and heads are for other readouts."""
        return self.linear(features)[:, 0]
