"""Projection readout: a logit with a term that is bilinear in the class embedding and the features.

    D(x, y) = w . f(x) + b + <embedding[y], f(x)>

This is the form of log p(x|y) - log q(x|y) if log p(y|x) and log q(y|x) are log-linear in f: Miyato & Koyama 2018
(arXiv:1802.05637), eq. 3-5. With a zero embedding the discriminator is unconditional.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from saddlepoint.layer.condition_entry import class_labels
from saddlepoint.layer.readout import LinearReadout
from saddlepoint.turn import Condition


class Projection(LinearReadout):
    """Logits [N] from features [N, F] and the condition's entry `entry` of class labels, int64 [N].

    classes  number of classes; their embeddings start Glorot-uniform
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
        """Return logits [N].  Raises Mistake if the condition has no such entry."""
        label = class_labels(condition, self.entry, self.classes, "projection")
        return super().forward(features, condition, heads) + (self.embedding(label) * features).sum(1)

    def extra_repr(self) -> str:
        return f"classes={self.classes}, entry={self.entry}"
