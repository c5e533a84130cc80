"""Virtual batch norm: every example is normalised by a fixed reference batch and by itself, never by its neighbours.

Per channel, with m, q the reference batch's mean and mean square over (N, H, W), a, b the example's own over (H, W),
B the reference's size and w = 1 / (B + 1):

    mean = w a + (1 - w) m,   variance = w b + (1 - w) q - mean^2,   gain (x - mean) / sqrt(variance + eps) + bias

The reference batch is made of latents that are drawn once. They go through the network again with every batch, so that
m and q are those of the weights as they are now, and the gradient flows through them: a second forward pass is the
price, and why only the generator has it.

Salimans et al. 2016 (arXiv:1606.03498), section 3.5; w, eps, gain ~ N(1, 0.02^2) and bias 0 as in the authors' code
(openai/improved-gan, imagenet/ops.py), where the reference itself is normalised by m and q alone.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from saddlepoint.turn import UNCONDITIONAL, Condition


class VirtualBatchNorm(nn.Module):
    """[N, features, ...] normalised by `reference` samples and by the example itself, alike in training and evaluation.

    Raises ValueError where the reference batch is smaller than 2, or where there is none: a game gives it to the
    generator (`set_reference`), to no other network.
    """

    def __init__(self, features: int, reference: int = 64, eps: float = 1e-5, std: float = 0.02) -> None:
        super().__init__()
        if isinstance(reference, bool) or not isinstance(reference, int | float) or reference < 2 or reference % 1:
            raise ValueError(
                f"virtual batch norm: reference={reference} is too small a reference batch; it takes a whole number "
                "of at least 2, and the paper as many as a batch"
            )
        self.reference, self.eps = int(reference), eps
        self.gain = nn.Parameter(torch.empty(features).normal_(1.0, std))
        self.bias = nn.Parameter(torch.zeros(features))
        self.has_reference = False

    def set_reference(
        self, network: nn.Module, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL
    ) -> None:
        """Have `network`, of which this is a layer, see these `reference` latents, so asked for, before any others."""
        batch = getattr(network, "reference_batch", None)
        if batch is None:
            batch = ReferenceBatch(latent, condition)
            network.add_module("reference_batch", batch)
            network.register_forward_pre_hook(_prepended, with_kwargs=True)
            network.register_forward_hook(_without_reference)
        if len(batch) != self.reference:
            raise ValueError(
                f"virtual batch norm: one layer refers to {len(batch)} samples, another to {self.reference}; "
                "a network has one reference batch"
            )
        self.has_reference = True

    def forward(self, x: Tensor) -> Tensor:
        """x, its first `reference` rows normalised by their own statistics, each other by those mixed with its own."""
        if not self.has_reference or len(x) < self.reference:
            raise ValueError(
                "virtual batch norm without a reference batch: a game gives it to its generator "
                "(architecture.generator.norm); no other network has one"
            )
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # variances of half precision are mostly rounding
        reference, live = wide[: self.reference], wide[self.reference :]
        space = list(range(2, x.ndim))
        variance, mean = torch.var_mean(reference, [0, *space], correction=0, keepdim=True)
        out = [(reference - mean) * (variance + self.eps).rsqrt()]
        if len(live):
            out.append(normalise_by_reference(live, mean, variance, self.reference, self.eps))
        column = (-1, *[1] * len(space))
        return (torch.cat(out) * self.gain.view(column) + self.bias.view(column)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{len(self.gain)}, reference={self.reference}, eps={self.eps}"


def normalise_by_reference(x: Tensor, mean: Tensor, variance: Tensor, reference: int, eps: float) -> Tensor:
    """Each x, [N, features, ...], normalised by itself and by the `mean` and `variance` of so large a reference batch.

    These are [1, features, 1, ...].
    """
    space = list(range(2, x.ndim))
    own_variance, own = torch.var_mean(x, space, correction=0, keepdim=True) if space else (0.0, x)
    w = 1 / (reference + 1)
    gap = own - mean
    # mean square less squared mean, written so that rounding cannot make it negative
    mixed = (1 - w) * variance + w * own_variance + w * (1 - w) * gap.square()
    return (x - mean - w * gap) * (mixed + eps).rsqrt()


class ReferenceBatch(nn.Module):
    """Latents, and the condition that they are asked for under, which stay what they are: buffers of the network."""

    def __init__(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> None:
        super().__init__()
        self.parts, self.names = list(latent), list(condition)
        for name, part in latent.items():
            self.register_buffer(f"latent_{name}", part.detach().clone())
        for name, entry in condition.items():
            self.register_buffer(f"condition_{name}", entry.detach().clone())

    def __len__(self) -> int:
        return len(self.latent_part(self.parts[0]))

    def latent_part(self, name: str) -> Tensor:
        """The reference's part `name` of the latent, [B, dim]."""
        return cast(Tensor, getattr(self, f"latent_{name}"))

    @property
    def condition(self) -> dict[str, Tensor]:
        """The reference's condition, [B, ...] each."""
        return {name: cast(Tensor, getattr(self, f"condition_{name}")) for name in self.names}


def _prepended(network: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A generator's arguments (latent, condition) with the reference batch in front."""
    batch = cast(ReferenceBatch, network.reference_batch)
    given = dict(zip(("latent", "condition"), args, strict=False)) | keywords
    latent = {name: torch.cat([batch.latent_part(name).to(part), part]) for name, part in given["latent"].items()}
    condition, own = given.get("condition", UNCONDITIONAL), batch.condition
    joined = {name: torch.cat([own[name].to(entry), entry]) for name, entry in condition.items()}
    return (latent, joined), {}


def _without_reference(network: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    return output[len(cast(ReferenceBatch, network.reference_batch)) :]
