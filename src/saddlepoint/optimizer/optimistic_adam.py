"""Optimistic Adam: each step is twice the update minus the previous update.

    theta <- theta - 2 u_t + u_{t-1},   u_t = lr m' / (sqrt(v') + eps),  u_0 = 0        m', v': Adam's corrected moments

Daskalakis et al. 2017 (arXiv:1711.00141), algorithm 1. With u_t = lr g_t it is their optimistic mirror descent,
which at the extrapolated points equals the extrapolation from the past of Gidel et al. 2018 (arXiv:1802.10551).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from saddlepoint.optimizer.closure import evaluate_closure


class Optimistic(Optimizer):
    """Changes the update u of the next class in the inheritance order, an optimizer of torch, to 2 u_t - u_{t-1}.

    `state[p]["update"]` is the last u. A learning rate that changes is that of each update's own step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every parameter with a gradient; `closure`, if given, computes the gradients and the returned loss."""
        loss = evaluate_closure(closure)
        parameters: list[Tensor] = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        starts = [p.clone() for p in parameters]
        super().step()
        for p, start in zip(parameters, starts, strict=True):
            update = p - start
            p.add_(update - self.state[p].get("update", 0))
            self.state[p]["update"] = update
        return loss


class OptimisticAdam(Optimistic, Adam):
    """Algorithm 1 of the paper."""


class OptimisticSGD(Optimistic, SGD):
    """Optimistic gradient descent."""
