"""Virtual batch norm: each example is normalised by a fixed reference batch and itself, not by the rest of its batch.

    mean = w a + (1 - w) m,   variance = w b + (1 - w) q - mean^2,   gain (x - mean) / sqrt(variance + eps) + bias

    m, q    mean and mean square of the reference batch, per channel, over (N, H, W)
    a, b    mean and mean square of the example, per channel, over (H, W)
    w       1 / (B + 1), B the size of the reference batch

The latents of the reference batch are drawn once. They pass through the network with every batch, so that m and q are
those of the current weights and the gradient flows through them. Every call also computes the reference
batch, so only the generator uses it.

Salimans et al. 2016 (arXiv:1606.03498), section 3.5; w, eps, gain ~ N(1, 0.02^2) and bias 0 as in the authors' code
(openai/improved-gan, imagenet/ops.py), where the reference batch is normalised by m and q only.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from saddlepoint.turn import UNCONDITIONAL, Condition


class VirtualBatchNorm(nn.Module):
    """Normalise [N, features, ...] by `reference` samples and each example itself, in training and evaluation mode.

    Raises ValueError if the reference batch is smaller than 2 or missing: a game sets it for the generator only
    (`set_reference`).
    """

    def __init__(self, features: int, reference: int = 64, eps: float = 1e-5, std: float = 0.02) -> None:
        super().__init__()
        if isinstance(reference, bool) or not isinstance(reference, int | float) or reference < 2 or reference % 1:
            raise ValueError(
                f"virtual batch norm: reference={reference}, the size of the reference batch, must be an integer of at "
                "least 2 (in the paper it is the batch size)"
            )
        self.reference, self.eps = int(reference), eps
        self.gain = nn.Parameter(torch.empty(features).normal_(1.0, std))
        self.bias = nn.Parameter(torch.zeros(features))
        self.has_reference = False

    def set_reference(
        self, network: nn.Module, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL
    ) -> None:
        """Prepend these reference latents and their condition to every batch of `network`, which has this layer."""
        batch = getattr(network, "reference_batch", None)
        if batch is None:
            batch = ReferenceBatch(latent, condition)
            network.add_module("reference_batch", batch)
            network.register_forward_pre_hook(_prepend_reference, with_kwargs=True)
            network.register_forward_hook(_drop_reference)
        if len(batch) != self.reference:
            raise ValueError(
                f"virtual batch norm: one layer has reference={len(batch)}, another {self.reference}; "
                "a network has only one reference batch"
            )
        self.has_reference = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the reference rows of x, which come first, by their statistics, and the other rows by a mixture.

        See `normalise_by_reference`. Raises ValueError without a reference batch.
        """
        if not self.has_reference:
            raise ValueError(
                "virtual batch norm has no reference batch: a game sets it only for its generator "
                "(architecture.generator.norm)"
            )
        if len(x) < self.reference:
            raise ValueError(f"virtual batch norm: {len(x)} rows do not contain the {self.reference} reference rows")
        x_wide = x.to(torch.promote_types(x.dtype, torch.float32))  # in half precision small variances would become 0
        reference, examples = x_wide[: self.reference], x_wide[self.reference :]
        space = list(range(2, x.ndim))
        variance, mean = torch.var_mean(reference, [0, *space], correction=0, keepdim=True)
        out = [(reference - mean) * (variance + self.eps).rsqrt()]
        if len(examples):
            out.append(normalise_by_reference(examples, mean, variance, self.reference, self.eps))
        channel_shape = (-1, *[1] * len(space))
        return (torch.cat(out) * self.gain.view(channel_shape) + self.bias.view(channel_shape)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{len(self.gain)}, reference={self.reference}, eps={self.eps}"


def normalise_by_reference(x: Tensor, mean: Tensor, variance: Tensor, reference: int, eps: float) -> Tensor:
    """Normalise each row of x [N, features, ...] by its own statistics mixed with those of a reference batch.

    mean, variance  of the reference batch, [1, features, 1, ...]
    reference       number of its samples
    """
    space = list(range(2, x.ndim))
    x_variance, x_mean = torch.var_mean(x, space, correction=0, keepdim=True) if space else (0.0, x)
    w = 1 / (reference + 1)
    difference = x_mean - mean
    # mean square minus squared mean, written so that rounding cannot make it negative
    mixed = (1 - w) * variance + w * x_variance + w * (1 - w) * difference.square()
    return (x - mean - w * difference) * (mixed + eps).rsqrt()


class ReferenceBatch(nn.Module):
    """Fixed reference latents and their condition, as buffers of the network."""

    def __init__(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> None:
        super().__init__()
        self.latent_names, self.condition_names = list(latent), list(condition)
        for name, values in latent.items():
            self.register_buffer(f"latent_{name}", values.detach().clone())
        for name, entry in condition.items():
            self.register_buffer(f"condition_{name}", entry.detach().clone())

    def __len__(self) -> int:
        return len(self.latent_part(self.latent_names[0]))

    def latent_part(self, name: str) -> Tensor:
        """Return the part `name` of the reference latents, [B, dim]."""
        return cast(Tensor, getattr(self, f"latent_{name}"))

    @property
    def condition(self) -> dict[str, Tensor]:
        """The condition of the reference batch, [B, ...] each."""
        return {name: cast(Tensor, getattr(self, f"condition_{name}")) for name in self.condition_names}


def _prepend_reference(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Forward pre-hook: put the reference batch in front of a generator's arguments (latent, condition)."""
    batch = cast(ReferenceBatch, network.reference_batch)
    arguments = dict(zip(("latent", "condition"), args, strict=False)) | kwargs
    latent = {name: torch.cat([batch.latent_part(name).to(z), z]) for name, z in arguments["latent"].items()}
    condition, reference_condition = arguments.get("condition", UNCONDITIONAL), batch.condition
    joined = {name: torch.cat([reference_condition[name].to(entry), entry]) for name, entry in condition.items()}
    return (latent, joined), {}


def _drop_reference(network: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    """Forward hook: remove the rows of the reference batch."""
    return output[len(cast(ReferenceBatch, network.reference_batch)) :]
