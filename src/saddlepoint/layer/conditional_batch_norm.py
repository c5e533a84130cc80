"""Conditional batch norm: batch norm with a gain and a bias per class.

    gain[c] (x - mean) / sqrt(variance + eps) + bias[c]     mean, variance: over the whole batch, per channel

de Vries et al. 2017 (arXiv:1707.00683), section 3; Dumoulin et al. 2016 (arXiv:1610.07629), eq. 5; in a
class-conditional generator: Miyato & Koyama 2018 (arXiv:1802.05637), section 5. Gains start at 1, biases at 0.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from saddlepoint.layer.condition_entry import class_labels
from saddlepoint.turn import Condition


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of any number of dimensions: torch's 1d, 2d and 3d layers differ only in this check."""

    def _check_input_dim(self, x: Tensor) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return


class ConditionalBatchNorm(nn.Module):
    """Normalise [N, features, ...] over all dimensions but the second; with one class it is plain batch norm.

    classes   number of classes
    entry     entry of the condition with the class of each sample, int64 [N]
    momentum  weight of a batch in the running statistics; None: their cumulative mean
    The statistics are in a child batch norm, `norm`, which can be synchronised over ranks like any other.
    Raises ValueError for fewer than one class.
    """

    conditional = True

    def __init__(
        self, features: int, classes: int = 10, entry: str = "label", eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"conditional batch norm: classes={classes} must be at least 1")
        self.classes, self.entry = classes, entry
        self.norm = BatchNorm(features, eps, momentum, affine=classes == 1)
        if classes > 1:
            self.gain = nn.Parameter(torch.ones(classes, features))
            self.bias = nn.Parameter(torch.zeros(classes, features))

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return a tensor of the shape and dtype of x.  Raises Mistake if the condition has no class labels."""
        label = class_labels(condition, self.entry, self.classes, "conditional batch norm")
        normalised = self.norm(x)
        if self.classes == 1:
            return normalised
        column = (x.shape[0], -1, *[1] * (x.ndim - 2))
        gain, bias = (embedding(label, table).view(column) for table in (self.gain, self.bias))
        return (gain * normalised + bias).to(x.dtype)

    def extra_repr(self) -> str:
        return f"classes={self.classes}, entry={self.entry}"
