"""The closure of an optimizer's step, as torch defines it: it computes the gradients and returns the loss."""

from collections.abc import Callable
from typing import Any

import torch


def evaluate_closure(closure: Callable[[], Any] | None) -> Any:
    """Return the result of `closure`, called with gradients enabled; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
