"""A sequential container that passes the condition to the layers that need it, and a hidden layer built with it."""

from collections.abc import Callable
from typing import Any

from torch import nn

from saddlepoint.turn import UNCONDITIONAL, Condition


class ConditionalSequential(nn.Sequential):
    """nn.Sequential with a condition: layers whose class has `conditional = True` get (x, condition), others (x).

    Parameter names are those of an nn.Sequential.
    """

    conditional = True

    def forward(self, x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        for layer in self:
            x = layer(x, condition) if getattr(type(layer), "conditional", False) else layer(x)
        return x


def hidden_layer(
    linear: nn.Module, features: int, norm: Callable[[int], nn.Module] | None, activation: nn.Module
) -> nn.Sequential:
    """Return linear -> norm(features), if given -> activation; a norm of weights wraps `linear` instead (`wrap`).

    The container is a ConditionalSequential if one of the layers is conditional, else an nn.Sequential.
    """
    norm_layer = None if norm is None else norm(features)
    if (wrap := getattr(norm_layer, "wrap", None)) is not None:
        layers = [wrap(linear), activation]
    else:
        layers = [linear, *([] if norm_layer is None else [norm_layer]), activation]
    conditional = [layer for layer in layers if getattr(type(layer), "conditional", False)]
    return ConditionalSequential(*layers) if conditional else nn.Sequential(*layers)
