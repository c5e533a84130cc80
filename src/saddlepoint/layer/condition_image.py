"""The input of a network from image to image: named entries of its condition, concatenated along the channels."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from saddlepoint.layer.concatenation import Concatenation
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class ConditionImage(nn.Module):
    """(x, condition) -> [N, width, H, W]; the first entry is an image [N, C, H, W], which fixes the size.

    Without any condition, the first entry is x: that of a side that starts from an image (of: source).

    condition  channels of each entry, by its name, as in `concatenation`; `width` is their sum
    Raises ValueError without an entry.
    """

    def __init__(self, condition: Mapping[str, int], network: str) -> None:
        super().__init__()
        if not condition:
            raise ValueError(
                f"{network} maps an image to an image: name its input and the channels, "
                "architecture.generator.condition={source: 3}"
            )
        self.first, self.network = next(iter(condition)), network
        self.join = Concatenation(condition)
        self.width = self.join.width

    def forward(self, x: Any, condition: Condition) -> Tensor:
        """Return the image.  Raises Mistake if an entry is missing or has another number of channels."""
        if not condition and isinstance(x, Tensor):
            condition = {self.first: x}
        empty = condition_entry(condition, self.first, self.network)[:, :0]
        return self.join(empty, condition)
