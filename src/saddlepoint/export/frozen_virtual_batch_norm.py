"""A generator whose virtual batch norm no longer looks at its reference batch: what it saw there is a constant.

While a generator trains, the reference latents go through it with every batch, since its weights move. An exported one
stays what it is, so that each layer's mean m and variance v of the reference batch are two vectors, and, with a, b the
example's own mean and variance, B the reference's size and w = 1 / (B + 1),

    variance = (1 - w) v + w b + w (1 - w) (a - m)^2,   gain (x - m - w (a - m)) / sqrt(variance + eps) + bias

is the same number without the reference (Salimans et al. 2016, arXiv:1606.03498, section 3.5).
"""

from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from saddlepoint.layer.virtual_batch_norm import ReferenceBatch, VirtualBatchNorm, normalise_by_reference

REFERENCE = "reference_batch"  # the latents' name in a network that has been given some


class FrozenVirtualBatchNorm(nn.Module):
    """[N, features, ...] normalised by the reference's `mean` and `variance`, [features], and by itself."""

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, reference: int, eps: float) -> None:
        super().__init__()
        self.reference, self.eps = reference, eps
        self.gain, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """x, each example normalised without a look at the others."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        column = (-1, *[1] * (x.ndim - 2))
        mean, variance, gain, bias = (t.view(column) for t in (self.mean, self.variance, self.gain, self.bias))
        return (normalise_by_reference(wide, mean, variance, self.reference, self.eps) * gain + bias).to(x.dtype)


@torch.no_grad()
def frozen_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """The state of `network`, in evaluation mode and on the CPU, that `receptive` of a fresh one takes.

    Of a reference batch there is left what each virtual batch norm has seen of it.
    """
    state = {name: t for name, t in network.state_dict().items() if not name.startswith(f"{REFERENCE}.")}
    if (batch := getattr(network, REFERENCE, None)) is not None:
        state |= _seen(network, cast(ReferenceBatch, batch))
    return {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}


def replace_virtual_batch_norm(network: nn.Module) -> nn.Module:
    """`network` itself, in evaluation mode, its virtual batch norms frozen ones that wait for their statistics."""
    for name, layer in _layers(network).items():
        network.set_submodule(name, FrozenVirtualBatchNorm(len(layer.gain), layer.reference, layer.eps))
    return network.eval().requires_grad_(False)


def _seen(network: nn.Module, batch: ReferenceBatch) -> dict[str, Tensor]:
    """Mean and variance of the reference batch in front of each layer, by the names that frozen ones have for them."""
    found: dict[str, Tensor] = {}

    def look(name: str, layer: VirtualBatchNorm, given: tuple[Any, ...]) -> None:
        wide = given[0][: layer.reference].to(torch.promote_types(given[0].dtype, torch.float32))
        others = [0, *range(2, wide.ndim)]
        found[f"{name}.variance"], found[f"{name}.mean"] = torch.var_mean(wide, others, correction=0)

    with ExitStack() as hooks:
        for name, layer in _layers(network).items():
            hooks.enter_context(layer.register_forward_pre_hook(partial(look, name)))
        # nobody but the reference: no row is asked for
        network(
            {part: batch.latent_part(part)[:0] for part in batch.parts}, {n: c[:0] for n, c in batch.condition.items()}
        )
    return found


def _layers(network: nn.Module) -> dict[str, VirtualBatchNorm]:
    return {name: m for name, m in network.named_modules() if isinstance(m, VirtualBatchNorm)}
