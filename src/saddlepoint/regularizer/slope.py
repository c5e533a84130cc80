"""The slope of the discriminator: the gradient of its logits with respect to its input."""

import torch
from torch import Tensor

from saddlepoint.turn import Sample, full_precision


def squared_slope(sample: Sample) -> Tensor:
    """Return ||grad_x D(x)||^2 per sample, [N], in float32; x must require grad.

    Takes the gradient of the sum of all logits, so it is exact only if D treats samples independently (no batch norm).
    """
    with full_precision(sample.x):
        (slope,) = torch.autograd.grad(sample.logits.sum(), sample.x, create_graph=True)
        return slope.square().flatten(1).sum(1)
