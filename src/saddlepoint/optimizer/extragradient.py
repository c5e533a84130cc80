"""Extragradient: every second step starts from the point before the first, with the gradient at the point after it.

    theta' = theta - lr u(g(theta)),   theta <- theta - lr u(g(theta'))        u(g): the update of Adam, or g itself

Korpelevich 1976; for GANs Gidel et al. 2018 (arXiv:1802.10551), algorithm 2 with SGD and 4 with Adam, whose moments
take in both gradients. The steps alternate between extrapolation and update, each on its own batch as in the paper, so
an update takes two rounds. If all players move at once (game=simultaneous) and equally often, this is the method
itself. In alternating play a player extrapolates against the others' latest points: a variant without its guarantee.

A weight decay acts at the point that a step starts from. After an odd number of steps the weights are the extrapolated
point; an average (EMA) of them covers both kinds. Extrapolation from the past, one gradient per update, equals
optimistic gradient descent: optimizer=optimistic_adam.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from saddlepoint.optimizer.closure import evaluate_closure


class Extragradient(Optimizer):
    """Alternates extrapolations and updates of the next class in the inheritance order, an optimizer of torch.

    Between an extrapolation and its update, `state[p]["anchor"]` is the weight before the extrapolation.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Extrapolate, or update from the weights before the extrapolation; `closure` computes gradients and loss."""
        loss = evaluate_closure(closure)
        parameters: list[Tensor] = [p for group in self.param_groups for p in group["params"]]
        anchors = [(p, self.state[p].pop("anchor")) for p in parameters if "anchor" in self.state.get(p, ())]
        starts = [(p, p.clone()) for p in parameters if p.grad is not None and not anchors]
        for p, anchor in anchors:
            p.copy_(anchor)
        super().step()
        for p, start in starts:  # after the step: Adam initialises a state that is empty
            self.state[p]["anchor"] = start
        return loss


class ExtraAdam(Extragradient, Adam):
    """Extragradient with Adam's updates: algorithm 4 of the paper."""


class ExtraSGD(Extragradient, SGD):
    """Extragradient with the updates of SGD: Korpelevich's method."""
