"""Virtual batch norm with fixed reference statistics, for exported generators.

In training, the reference latents pass through the generator with every batch, because its weights change. An exported
generator does not change, so that each layer's mean m and variance v of the reference batch are two constant vectors.
With a, b the example's own mean and variance, B the size of the reference batch and w = 1 / (B + 1),

    variance = (1 - w) v + w b + w (1 - w) (a - m)^2,   gain (x - m - w (a - m)) / sqrt(variance + eps) + bias

gives the same result without the reference batch (Salimans et al. 2016, arXiv:1606.03498, section 3.5).
"""

from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from saddlepoint.layer.virtual_batch_norm import ReferenceBatch, VirtualBatchNorm, normalise_by_reference

REFERENCE = "reference_batch"  # the attribute of a network that holds its reference batch


class FrozenVirtualBatchNorm(nn.Module):
    """Normalise [N, features, ...] by the reference's `mean` and `variance`, [features], and each example's own."""

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, reference: int, eps: float) -> None:
        super().__init__()
        self.reference, self.eps = reference, eps
        self.gain, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalised; each example is independent of the others in the batch."""
        x_wide = x.to(torch.promote_types(x.dtype, torch.float32))
        shape = (-1, *[1] * (x.ndim - 2))
        mean, variance, gain, bias = (t.view(shape) for t in (self.mean, self.variance, self.gain, self.bias))
        return (normalise_by_reference(x_wide, mean, variance, self.reference, self.eps) * gain + bias).to(x.dtype)


@torch.no_grad()
def frozen_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of `network` on the CPU, to be loaded after `freeze_for_export`.

    `network` has to be in evaluation mode. In the place of a reference batch, the state dict has its mean and variance
    in front of each virtual batch norm.
    """
    state = {name: t for name, t in network.state_dict().items() if not name.startswith(f"{REFERENCE}.")}
    if (batch := getattr(network, REFERENCE, None)) is not None:
        state |= _reference_statistics(network, cast(ReferenceBatch, batch))
    return {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}


def freeze_for_export(network: nn.Module) -> nn.Module:
    """Replace each virtual batch norm by a frozen one, in place, and set evaluation mode; return `network`.

    The statistics of the frozen layers have to be loaded afterwards (`frozen_state_dict`).
    """
    for name, layer in _virtual_batch_norms(network).items():
        network.set_submodule(name, FrozenVirtualBatchNorm(len(layer.gain), layer.reference, layer.eps))
    return network.eval().requires_grad_(False)


def _reference_statistics(network: nn.Module, batch: ReferenceBatch) -> dict[str, Tensor]:
    """Return the mean and variance of the reference batch in front of each layer, by buffer name."""
    statistics: dict[str, Tensor] = {}

    def record(name: str, layer: VirtualBatchNorm, inputs: tuple[Any, ...]) -> None:
        x_wide = inputs[0][: layer.reference].to(torch.promote_types(inputs[0].dtype, torch.float32))
        dims = [0, *range(2, x_wide.ndim)]
        statistics[f"{name}.variance"], statistics[f"{name}.mean"] = torch.var_mean(x_wide, dims, correction=0)

    with ExitStack() as hooks:
        for name, layer in _virtual_batch_norms(network).items():
            hooks.enter_context(layer.register_forward_pre_hook(partial(record, name)))
        # an empty batch: only the reference batch passes through the layers
        network(
            {part: batch.latent_part(part)[:0] for part in batch.latent_names},
            {n: c[:0] for n, c in batch.condition.items()},
        )
    return statistics


def _virtual_batch_norms(network: nn.Module) -> dict[str, VirtualBatchNorm]:
    return {name: m for name, m in network.named_modules() if isinstance(m, VirtualBatchNorm)}
