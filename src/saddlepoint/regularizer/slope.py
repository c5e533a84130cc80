"""How steep the discriminator is."""

import torch
from torch import Tensor

from saddlepoint.turn import Sample, full_precision


def squared_slope(sample: Sample) -> Tensor:
    """||grad_x D(x)||^2 per sample, [N], summed over everything but the batch, in float32; x must require grad.

    Exact only if D treats samples independently (no batch norm): the gradient of the sum of all logits is taken.
    """
    with full_precision(sample.x):
        (slope,) = torch.autograd.grad(sample.logits.sum(), sample.x, create_graph=True)
        return slope.square().flatten(1).sum(1)
