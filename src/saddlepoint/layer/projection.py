"""Projection: a readout whose logit has a part that is linear in the class and in the features.

    D(x, y) = w . f(x) + b + <embedding[y], f(x)>

For classes this is the form of log p(x|y) - log q(x|y) where log p(y|x) and log q(y|x) are log-linear in f: Miyato &
Koyama 2018 (arXiv:1802.05637), eq. 3-5. With an embedding of 0 the discriminator is unconditional.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from saddlepoint.layer.condition_entry import class_labels
from saddlepoint.layer.readout import LinearReadout
from saddlepoint.turn import Condition


class Projection(LinearReadout):
    """Logits [N] of features [N, F] and the class that `entry` of the condition holds, int64 [N].

    classes  how many there are; their embeddings start uniform, as Glorot & Bengio 2010 have it
    Raises ValueError for fewer than one class.
    """

    conditional = True

    def __init__(self, features: int, classes: int = 10, entry: str = "label") -> None:
        super().__init__(features)
        if classes < 1:
            raise ValueError(f"projection: classes={classes} must be at least 1")
        self.classes, self.entry = classes, entry
        self.embedding = nn.Embedding(classes, features)
        nn.init.xavier_uniform_(self.embedding.weight)

    def forward(self, features: Tensor, condition: Condition, heads: Mapping[str, Tensor]) -> Tensor:
        """Logits [N].  Raises Mistake where the condition has no such entry."""
        label = class_labels(condition, self.entry, self.classes, "projection")
        return super().forward(features, condition, heads) + (self.embedding(label) * features).sum(1)

    def extra_repr(self) -> str:
        return f"classes={self.classes}, entry={self.entry}"
