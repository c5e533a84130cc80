"""Layers one after the other, each given the condition where it takes one; and one hidden layer of them."""

from collections.abc import Callable
from typing import Any

from torch import nn

from saddlepoint.turn import UNCONDITIONAL, Condition


class ConditionalSequential(nn.Sequential):
    """nn.Sequential with a second argument: layers whose class has `conditional = True` get (x, condition), others (x).

    Parameters have the names that they have in an nn.Sequential.
    """

    conditional = True

    def forward(self, x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        for layer in self:
            x = layer(x, condition) if getattr(type(layer), "conditional", False) else layer(x)
        return x


def hidden_layer(
    linear: nn.Module, features: int, norm: Callable[[int], nn.Module] | None, activation: nn.Module
) -> nn.Sequential:
    """linear -> norm(features), where one is given -> activation; a norm of weights takes `linear` in (`around`).

    A Stack, or where none of these takes a condition the nn.Sequential that does the same.
    """
    made = None if norm is None else norm(features)
    if (around := getattr(made, "around", None)) is not None:
        layers = [around(linear), activation]
    else:
        layers = [linear, *([] if made is None else [made]), activation]
    conditional = [layer for layer in layers if getattr(type(layer), "conditional", False)]
    return ConditionalSequential(*layers) if conditional else nn.Sequential(*layers)
