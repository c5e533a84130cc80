"""Consensus: 1/2 |v|^2, v the gradients of all players' objectives, each with respect to its own player's weights.

    L_G + weight 1/2 |v|^2  for G,   L_D + weight 1/2 |v|^2  for D,        v = (dL_G/dtheta_G, dL_D/dtheta_D)

Every player that has the term also moves towards points where the gradients of all vanish. On a bilinear game the
eigenvalues of a simultaneous step of size h, 1 +- i h, become 1 - h weight +- i h.  Mescheder et al. 2017
(arXiv:1705.10461), section 4; the authors' code has weight 10, and both players step at once with RMSProp at 1e-4.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn

ROLES = ("real", "fake")  # the arguments of an objective


class Consensus(Regularizer):
    """Half the squared norm of the gradients of `objectives`, by player, at the samples of the turn.

    Other terms and the weights of the players are not in v.  If the players of `objectives` do not move at once, the
    samples are made and judged once more, with a graph to the weights of all of them.  All objectives are evaluated at
    the sides that the player of the turn sees.
    Raises Mistake if a player has no objective.
    """

    coupled = True  # the square of a mean

    def __init__(
        self,
        objectives: Mapping[str, Callable[..., Tensor] | None],
        weight: float | Callable[[int], float] = 10.0,
        every: int = 1,
    ) -> None:
        super().__init__(weight, every)
        self.objectives: dict[str, Callable[..., Tensor]] = {}
        for name, objective in objectives.items():
            if objective is None:
                raise Mistake(
                    f"consensus needs the gradients of all players, and {name} has no objective: set "
                    f"objective.{name}, or remove it from this term's objectives"
                )
            self.objectives[name] = objective

    def forward(self, turn: Turn) -> Tensor:
        """Return 1/2 |v|^2, a scalar.  Raises Mistake if a network is compiled: it has no second derivative."""
        if not set(self.objectives) <= set(turn.movers):
            turn = replace(turn, movers=tuple(self.objectives), samples={})
        squares = []
        for name, objective in self.objectives.items():
            network = turn.networks[name]
            if not isinstance(network, nn.Module):
                raise Mistake("consensus takes a second derivative, which compiled networks lack: set compile=false")
            roles = [role for role in ROLES if role in inspect.signature(objective).parameters]
            loss = objective(**{role: turn[role].logits for role in roles})
            weights = [p for p in network.parameters() if p.requires_grad]
            gradients = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
            squares += [gradient.square().sum() for gradient in gradients]
        return torch.stack(squares).sum() / 2
