"""Batch norm whose gains and biases are linear in a vector of each sample.

    (1 + W_gain c) (x - mean) / sqrt(variance + eps) + W_bias c     mean, variance: over the whole batch, per channel

Brock et al. 2018 (arXiv:1809.11096), section 3 and appendix B: c is a class embedding with a part of the latent.
"""

from torch import Tensor, nn

from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.layer.conditional_batch_norm import BatchNorm
from saddlepoint.turn import Condition


class ProjectedBatchNorm(nn.Module):
    """Normalise [N, features, ...] over all dimensions but the second.

    size   size of the vector c
    entry  entry of the condition with the vectors, [N, size]
    The statistics are in a child batch norm, `norm`, as in `conditional_batch_norm`.
    """

    conditional = True

    def __init__(self, features: int, size: int, entry: str = "vector", eps: float = 1e-5) -> None:
        super().__init__()
        self.entry = entry
        self.norm = BatchNorm(features, eps, affine=False)
        self.gain = nn.Linear(size, features, bias=False)
        self.bias = nn.Linear(size, features, bias=False)

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return a tensor of the shape and dtype of x.  Raises Mistake if the condition has no such entry."""
        vector = condition_entry(condition, self.entry, "projected batch norm")
        column = (x.shape[0], -1, *[1] * (x.ndim - 2))
        gain, bias = (projection(vector).view(column) for projection in (self.gain, self.bias))
        return ((1 + gain) * self.norm(x) + bias).to(x.dtype)
