"""Conditional batch norm: batch norm whose gain and bias are looked up by class.

    gain[c] (x - mean) / sqrt(variance + eps) + bias[c]     mean, variance: of the whole batch, per channel

de Vries et al. 2017 (arXiv:1707.00683), section 3; Dumoulin et al. 2016 (arXiv:1610.07629), eq. 5; in a generator that
is asked for a class: Miyato & Koyama 2018 (arXiv:1802.05637), section 5. Gains start at 1, biases at 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, embedding

from saddlepoint.layer.entry import label_of
from saddlepoint.turn import Condition


class ConditionalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """[N, features, ...] of any number of dimensions, normalised over all but the second; with one class, batch norm.

    classes   how many there are
    entry     the entry of the condition that holds the class of each sample, int64 [N]
    momentum  share of a batch in the running statistics; None: their plain mean
    Raises ValueError for fewer than one class.
    """

    conditional = True

    def __init__(
        self, features: int, classes: int = 10, entry: str = "label", eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        if classes < 1:
            raise ValueError(f"conditional batch norm: classes={classes} must be at least 1")
        super().__init__(features, eps, momentum, affine=False)
        self.classes, self.entry = classes, entry
        self.weight = nn.Parameter(torch.ones(classes, features))
        self.bias = nn.Parameter(torch.zeros(classes, features))

    def forward(self, x: Tensor, condition: Condition) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The shape and type of x.  Raises Mistake where the condition has no such entry."""
        label = label_of(condition, self.entry, self.classes, "conditional batch norm")
        if self.classes == 1:  # one operation, and to the last bit that of torch's layer
            return self._normalised(x, self.weight[0], self.bias[0])
        column = (x.shape[0], -1, *[1] * (x.ndim - 2))
        gain, bias = (embedding(label, own).view(column) for own in (self.weight, self.bias))
        return (gain * self._normalised(x) + bias).to(x.dtype)

    def _normalised(self, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        share = self.momentum or 0.0
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                share = 1 / float(self.num_batches_tracked)
        of_batch = self.training or self.running_mean is None
        return batch_norm(x, self.running_mean, self.running_var, gain, bias, of_batch, share, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, classes={self.classes}, entry={self.entry}, eps={self.eps}, momentum={self.momentum}"
        )
