"""What one player's turn lets the losses see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from saddlepoint.stream import Stream


@dataclass(frozen=True)
class Batch:
    """What data yields: N real samples, and labelled ones apart where a game learns from few labels."""

    x: Tensor  # [N, C, H, W] in [-1, 1], or points [N, D]
    y: Tensor | None = None  # [N], int64: the class; None where the data has none
    labelled: tuple[Tensor, Tensor] | None = None  # (x, y) of the labelled batch

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Batch:
        """Itself where it lies on `device` already, else a copy there."""
        if self.x.device == device:
            return self
        y = self.y.to(device) if self.y is not None else None
        labelled = (self.labelled[0].to(device), self.labelled[1].to(device)) if self.labelled else None
        return Batch(self.x.to(device), y, labelled)


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What a discriminator says of N samples."""

    logits: Tensor  # [N, ...], unbounded; sigmoid(logits) = D(x) where D is a classifier
    features: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # hidden layers by name, [N, ...]; the last is the default
    heads: Mapping[str, Tensor] = field(default_factory=dict)  # [N, K] each, by name


@dataclass
class Sample:
    """Samples x under condition y; the discriminator is asked on first look, once."""

    x: Tensor  # [N, ...]
    y: Tensor | None
    discriminator: Callable[..., DiscriminatorOutput]
    needs_input_gradient: bool = False  # whether a term takes the slope of D at x; of a leaf that requires grad, always

    def __post_init__(self) -> None:
        """Where a slope is taken, x and all that D computes of it are float32 at least, whatever autocast is set to."""
        self.needs_input_gradient |= needs_input_gradient(self.x)
        if self.needs_input_gradient:
            self.x = self.x.to(torch.promote_types(self.x.dtype, torch.float32))

    @cached_property
    def output(self) -> DiscriminatorOutput:
        with full_precision(self.x) if self.needs_input_gradient else nullcontext():
            return self.discriminator(self.x, self.y)

    @property
    def logits(self) -> Tensor:
        """D's, in float32 at least: what is made of them is no matter for half precision."""
        return self.output.logits.to(torch.promote_types(self.output.logits.dtype, torch.float32))

    @property
    def features(self) -> Tensor:
        """The discriminator's last named feature."""
        return list(self.output.features.values())[-1]

    @property
    def seen(self) -> bool:
        """Whether the discriminator has been asked."""
        return "output" in self.__dict__


def needs_input_gradient(x: Tensor) -> bool:
    """Whether x is a leaf that requires grad, so that a term may take the slope of D there."""
    return x.requires_grad and x.is_leaf


def full_precision(x: Tensor) -> torch.autocast:
    """A context in which nothing is cast to half precision, whose range squares of slopes would leave."""
    return torch.autocast(x.device.type, enabled=False)


@dataclass
class Turn:
    """One player's turn: the data, the fakes, and the players on the board."""

    real: Sample
    fake: Sample
    latent: Mapping[str, Tensor]  # the named parts of the fakes' latents, [N, dim] each
    stream: Stream  # for draws of a term's own, such as interpolation coefficients
    player: Any  # whose turn it is
    prior: Any
    generator: Callable[..., Tensor]
    discriminator: Callable[..., DiscriminatorOutput]
    images: int = 0  # real images shown before this round
    labelled: Sample | None = None
