"""Layers one after the other, each given the condition where it takes one; and one hidden layer of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from saddlepoint.turn import UNCONDITIONAL, Condition


class Stack(nn.Sequential):
    """nn.Sequential with a second argument: a layer with the attribute `conditional` gets (x, condition), others (x).

    Parameters have the names that they have in an nn.Sequential.
    """

    conditional = True

    def forward(self, x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        for layer in self:
            x = applied(layer, x, condition)
        return x


def applied(layer: nn.Module, x: Any, condition: Condition) -> Tensor:
    """layer(x, condition) where the layer takes a condition (its attribute `conditional` is true), else layer(x)."""
    return layer(x, condition) if getattr(layer, "conditional", False) else layer(x)


def stack(linear: nn.Module, features: int, norm: Callable[[int], nn.Module] | None, activation: nn.Module) -> Stack:
    """linear -> norm(features), where one is given -> activation; a norm of weights takes `linear` in (`around`)."""
    if norm is None:
        return Stack(linear, activation)
    made = norm(features)
    if (around := getattr(made, "around", None)) is not None:
        return Stack(around(linear), activation)
    return Stack(linear, made, activation)
