"""Adam with epsilon inside the square root: small gradients give small steps.

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   theta <- theta - lr m' / sqrt(v' + eps),   ': bias-corrected

Kingma & Ba 2014 (arXiv:1412.6980), algorithm 1, divides by sqrt(v') + eps. Here the minimum of the denominator
for eps = 1e-8 is 1e-4, not 1e-8: a gradient g far below 1e-4 moves a weight by lr 1e4 g, not by lr. The code of
Salimans et al. 2016 (arXiv:1606.03498; openai/improved-gan, mnist_svhn_cifar10/nn.py) uses this form, and its
feature-matching gradients are about that small.
"""

# pyright: reportPrivateImportUsage=false
# torch's optimizers use the same private functions: one kernel for many tensors
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from saddlepoint.optimizer.closure import evaluate_closure


class AdamInside(Optimizer):
    """Adam that divides by sqrt(v' + eps).  Raises ValueError if an argument is out of range."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if lr < 0 or eps < 0:
            raise ValueError(f"lr={lr} and eps={eps} must not be negative")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas={list(betas)} must be two numbers in [0, 1)")
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every parameter with a gradient; `closure`, if given, computes the gradients and the returned loss."""
        loss = evaluate_closure(closure)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                _adam_step(
                    parameters, [self._advance_state(p) for p in parameters], group["lr"], group["betas"], group["eps"]
                )
        return loss

    def _advance_state(self, parameter: Tensor) -> dict[str, Any]:
        """Return the state of one parameter, with its step count increased."""
        state = self.state[parameter]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        state["step"] += 1
        return state


def _adam_step(
    parameters: list[Tensor], states: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float
) -> None:
    """Apply one step to all tensors."""
    b1, b2 = betas
    gradients = [p.grad for p in parameters if p.grad is not None]
    means, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
    torch._foreach_lerp_(means, gradients, 1 - b1)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_mul_(squares, b2)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - b2)
    # m' / sqrt(v' + eps) = (c / (1 - b1^t)) m / sqrt(v + c^2 eps),  c = sqrt(1 - b2^t): saves one pass over v
    corrections = [(1 - b1 ** state["step"], 1 - b2 ** state["step"]) for state in states]
    roots = torch._foreach_add(squares, [eps * c2 for _, c2 in corrections])
    torch._foreach_sqrt_(roots)
    torch._foreach_addcdiv_(parameters, means, roots, [-lr * c2**0.5 / c1 for c1, c2 in corrections])
