"""One hidden layer: a linear map, perhaps a normalisation, a nonlinearity."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def stack(
    linear: nn.Module, features: int, norm: Callable[[int], nn.Module] | None, activation: nn.Module
) -> nn.Module:
    """linear -> norm(features), where one is given -> activation; a norm of weights takes `linear` in (`around`)."""
    if norm is None:
        return nn.Sequential(linear, activation)
    made = norm(features)
    if (around := getattr(made, "around", None)) is not None:
        return nn.Sequential(around(linear), activation)
    return nn.Sequential(linear, made, activation)
