"""Lookahead: after every k steps the weights go back to slow weights, which have moved a fraction of the way.

    every k-th step:  slow <- slow + alpha (theta - slow),  theta <- slow        slow starts at the initial weights

Zhang et al. 2019 (arXiv:1907.08610), algorithm 1, with the inner optimizer's moments kept; for GANs Chavdarova et al.
2020 (arXiv:2006.14567), algorithm 1: both players go back together, which averages out their rotation around an
equilibrium. That is exact with game=simultaneous. In alternating play G's k-th gradient is taken against D's slow
weights. Every player counts its own steps: if D moves five times as often as G, set five times the k for D.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from saddlepoint.optimizer.closure import evaluate_closure


class Lookahead(Optimizer):
    """Adds slow weights to the next class in the inheritance order, an optimizer of torch.

    steps     k, inner steps between two updates of the slow weights
    alpha     step of the slow weights; 1: no lookahead
    settings  of the inner optimizer
    `state[p]["slow"]` and `state[p]["inner_steps"]` are the slow weight and the number of steps since the start.
    Raises ValueError unless steps >= 1 and 0 < alpha <= 1.
    """

    def __init__(self, params: Iterable[Any], steps: int = 5, alpha: float = 0.5, **settings: Any) -> None:
        if steps < 1 or not 0 < alpha <= 1:
            raise ValueError(f"lookahead: steps={steps} must be at least 1, and alpha={alpha} above 0 and at most 1")
        super().__init__(params, **settings)
        self.steps, self.alpha = steps, alpha

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take an inner step, and in every k-th step go back; `closure` computes gradients and loss."""
        loss = evaluate_closure(closure)
        parameters: list[Tensor] = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        new = {p: p.clone() for p in parameters if "slow" not in self.state.get(p, ())}
        super().step()
        for p in parameters:  # after the step: Adam initialises a state that is empty
            state = self.state[p]
            slow = state.setdefault("slow", new.get(p))
            state["inner_steps"] = state.get("inner_steps", 0) + 1
            if state["inner_steps"] % self.steps == 0:
                p.copy_(slow.lerp_(p, self.alpha))
        return loss


class LookaheadAdam(Lookahead, Adam):
    """Lookahead over Adam."""


class LookaheadSGD(Lookahead, SGD):
    """Lookahead over SGD."""
