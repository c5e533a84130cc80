"""Unrolled GAN: the generator minimises its loss against the discriminator after k further steps.

Metz et al. 2016 (arXiv:1611.02163), eq. 3-4:  theta_D^0 = theta_D,  theta_D^{j+1} = theta_D^j - eta dL_D/dtheta_D^j.
G's loss uses theta_D^k, and its gradient passes through all k steps. D itself takes one step per round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.game.wiring import sides_with_due_slope
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import Batch, Condition, Turn


class Unrolled(Game):
    """A game in which the other players move against `unrolled` after k differentiable gradient steps on its losses.

    steps     k; 0: the game without unrolling
    rate      eta, the learning rate of these steps, independent of the player's own optimizer
    unrolled  the player that is unrolled
    A regularizer that counts its turns counts unrolled steps too. Raises ValueError for invalid steps or rate, and for
    an unknown player.
    """

    def __init__(
        self,
        players: Mapping[str, Player],
        prior: Prior,
        steps: int = 5,
        rate: float = 0.05,
        unrolled: str = "discriminator",
        **game: Any,
    ) -> None:
        super().__init__(players, prior, **game)
        if type(steps) is not int or steps < 0 or rate <= 0:
            raise ValueError(f"unrolled: steps={steps}, rate={rate}: steps must be an integer >= 0, and rate > 0")
        if unrolled not in players:
            raise ValueError(f"unrolled={unrolled} is not a player: {', '.join(players)}")
        for group in self.order if steps else ():
            if unrolled in group and (others := [name for name in group if name != unrolled]):
                raise Mistake(
                    f"game.order: {', '.join(others)} and {unrolled} move at once, so no player moves against the "
                    f"unrolled {unrolled}: give it its own group"
                )
        self.steps, self.rate, self.unrolled = steps, rate, unrolled

    def build_turn(self, batch: Batch, draws: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> Turn:
        """Return the turn of the named players, in which sides are judged by the unrolled network."""
        turn = super().build_turn(batch, draws, names)
        if self.unrolled in names or not self.steps:
            return turn
        network = self.player(self.unrolled).network
        turn = turn.replace(slope_at=turn.slope_at | sides_with_due_slope(self, [self.unrolled]))
        weights: dict[str, Tensor] = {name: p for name, p in network.named_parameters() if p.requires_grad}
        for _ in range(self.steps):
            weights = self._weights_after_step(turn, network, weights)
        return self._with_weights(turn, network, weights)

    def _weights_after_step(self, turn: Turn, network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights after one gradient step, as a function of the previous weights and of the fakes."""
        player = self.player(self.unrolled)
        number = self.rounds // player.every
        draws = player.draw_for_terms(number, self.images, len(turn.batch), self.streams["augment"])
        own_turn = self._with_weights(turn, network, weights).replace(player=player)
        loss = cast(Tensor, sum(player.losses(own_turn, number, draws).values()))
        local_gradients = torch.autograd.grad(  # zero for a head whose terms are not due
            loss, list(weights.values()), create_graph=True, materialize_grads=True
        )
        gradients = [ranks.mean(gradient) for gradient in local_gradients]
        return {name: w - self.rate * g for (name, w), g in zip(weights.items(), gradients, strict=True)}

    def _with_weights(self, turn: Turn, network: nn.Module, weights: Mapping[str, Tensor]) -> Turn:
        """Return the turn with the unrolled player at these weights: sides stay as made, and are judged again."""

        def judge(x: Any, condition: Condition) -> Any:
            return functional_call(network, dict(weights), (x, condition))

        for term in self.player(self.unrolled).adversarial_terms:
            for side in term.sides.values():
                turn.side_sample(side)
        judged = {name for name, side in turn.sides.items() if side.judge == self.unrolled}
        samples = {
            name: replace(sample, x=_new_node(sample.x), judge=judge) if name in judged else sample
            for name, sample in turn.samples.items()
        }
        return turn.replace(networks={**turn.networks, self.unrolled: judge}, samples=samples)


def _new_node(x: Any) -> Any:
    """Return x as a new graph node: the slope at x must not pass through weights that earlier steps computed from x."""
    if not isinstance(x, Tensor) or not x.requires_grad:
        return x
    return x.detach().requires_grad_() if x.is_leaf else x.view_as(x)
