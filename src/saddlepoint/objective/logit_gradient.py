"""The gradient of an objective at given logits, which shows where its optimum is and whether it has one."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor


def logit_gradient(objective: Callable[..., Tensor], real: float, fake: float) -> tuple[float, float]:
    """d loss / d c for logits real + c, and the same for fake; 0 for a side that the objective does not use.

    At the optimum for equal distributions, real = fake, the sum is 0.
    """
    logits = {
        side: torch.full((2,), value, dtype=torch.float64, requires_grad=True)
        for side, value in (("real", real), ("fake", fake))
    }
    used = [side for side in logits if side in inspect.signature(objective).parameters]
    with torch.enable_grad():
        loss = objective(**{side: logits[side] for side in used})
        gradients = torch.autograd.grad(loss, [logits[side] for side in used], allow_unused=True)
    by_side = {side: float(g.sum()) for side, g in zip(used, gradients, strict=True) if g is not None}
    return by_side.get("real", 0.0), by_side.get("fake", 0.0)
