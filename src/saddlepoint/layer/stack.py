"""One hidden layer: a linear map, perhaps a normalisation, a nonlinearity."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def stack(
    linear: nn.Module, features: int, norm: Callable[[int], nn.Module] | None, activation: nn.Module
) -> nn.Module:
    """linear -> norm(features), where one is given -> activation."""
    layers = [linear, norm(features), activation] if norm is not None else [linear, activation]
    return nn.Sequential(*layers)
