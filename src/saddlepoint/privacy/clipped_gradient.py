"""Per-sample gradients, clipped and summed: sum_i g_i min(1, C / ||g_i||), as in DP-SGD.

Abadi et al. 2016 (arXiv:1607.00133), algorithm 1. The norm is over all parameters together. With one sample added or
removed, the sum changes by a vector of norm at most C.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from saddlepoint.turn import Condition


def clipped_gradient_sum(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    x: Tensor,
    condition: Condition,
    clip: float,
    rows: int,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The sum of the clipped gradients of loss(logits of one sample) for each of N samples, by parameter.

    loss       of the logits [1, ...] of a network that maps (x, condition) to a DiscriminatorOutput
    clip       C > 0; infinite: no clipping
    rows       samples whose gradients are in memory at once
    Every chunk starts from the same buffers, and those of the network do not change: the estimate of spectral norm must
    depend neither on the number of samples nor on their chunk, or a sample would change the gradients of others.
    Also returns the norms before clipping, [N], and the logits, [N, ...]. N may be 0: zeros and empty tensors.
    """
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    names = list(condition)

    def sample_loss(
        weights: Mapping[str, Tensor], state: Mapping[str, Tensor], x: Tensor, *entries: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows_of_one = {name: entry[None] for name, entry in zip(names, entries, strict=True)}
        logits = functional_call(network, {**weights, **state}, (x[None], rows_of_one)).logits
        return loss(logits), logits.detach()[0]

    in_dims = (None, None, 0, *[0] * len(names))
    per_sample = vmap(grad_and_value(sample_loss, has_aux=True), in_dims, randomness="different")
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    norms, logits = [x.new_zeros(0)], []
    for chunk in _chunks([x, *condition.values()], rows):
        state = {name: buffer.clone() for name, buffer in buffers.items()}
        gradients, (_, values) = per_sample(parameters, state, *chunk)
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients.values()]
        norm = torch.stack(squares).sum(0).sqrt()
        scale = (clip / norm.clamp(min=torch.finfo(norm.dtype).tiny)).clamp(max=1)
        for name, gradient in gradients.items():
            total[name] += torch.tensordot(scale, gradient, 1)
        norms.append(norm)
        logits.append(values)
    return total, torch.cat(norms), torch.cat(logits) if logits else x.new_zeros(0)


def _chunks(tensors: Sequence[Tensor], rows: int) -> Any:
    """Yield slices of `rows` rows of all tensors together; none if they are empty."""
    for first in range(0, len(tensors[0]), rows):
        yield [tensor[first : first + rows] for tensor in tensors]
