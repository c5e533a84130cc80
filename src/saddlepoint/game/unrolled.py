"""Unrolled: the generator descends against the discriminator that D would be after k steps of its own.

Metz et al. 2016 (arXiv:1611.02163), eq. 3-4:  theta_D^0 = theta_D,  theta_D^{j+1} = theta_D^j - eta dL_D/dtheta_D^j;
G's loss is judged by theta_D^k, and its gradient passes through all k steps.  D itself takes one step per round.
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
    """The game in which `unrolled` is foreseen by the others: k differentiable steps of gradient descent on its losses.

    steps     k; 0 is the game without unrolling
    rate      eta, of plain gradient descent, whatever the player's own optimizer is
    unrolled  the player that is foreseen
    A term of its own that counts its turns counts the foreseen ones too.  Raises ValueError for steps or a rate that
    make no sense, and for an unknown player.
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
            raise ValueError(f"unrolled: steps={steps}, rate={rate}: a whole number from 0 on, and a rate above 0")
        if unrolled not in players:
            raise ValueError(f"unrolled={unrolled} is no player: {', '.join(players)}")
        for group in self.order if steps else ():
            if unrolled in group and (beside := [name for name in group if name != unrolled]):
                raise Mistake(
                    f"game.order: {', '.join(beside)} and {unrolled} move at once, so nobody foresees {unrolled}: "
                    "give it a group of its own"
                )
        self.steps, self.rate, self.unrolled = steps, rate, unrolled

    def build_turn(self, batch: Batch, draws: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> Turn:
        """The turn of the named players, with the foreseen network in the place of the judge's own."""
        turn = super().build_turn(batch, draws, names)
        if self.unrolled in names or not self.steps:
            return turn
        network = self.player(self.unrolled).network
        turn = replace(turn, slope_at=turn.slope_at | sides_with_due_slope(self, [self.unrolled]))
        weights: dict[str, Tensor] = {name: p for name, p in network.named_parameters() if p.requires_grad}
        for _ in range(self.steps):
            weights = self._after_a_step(turn, network, weights)
        return self._asking(turn, network, weights)

    def _after_a_step(self, turn: Turn, network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights one step on, as a function of those before and of the fakes."""
        player = self.player(self.unrolled)
        number = self.rounds // player.every
        drawn = player.draw_for_terms(number, self.images, len(turn.batch), self.streams["augment"])
        asked = replace(self._asking(turn, network, weights), player=player)
        loss = cast(Tensor, sum(player.losses(asked, number, drawn).values()))
        found = torch.autograd.grad(  # a head whose terms are not due stays where it is
            loss, list(weights.values()), create_graph=True, materialize_grads=True
        )
        slopes = [ranks.mean(own) for own in found]
        return {name: w - self.rate * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}

    def _asking(self, turn: Turn, network: nn.Module, weights: Mapping[str, Tensor]) -> Turn:
        """The turn in which the foreseen player answers by these weights; sides stay made, and are judged anew."""

        def judge(x: Any, condition: Condition) -> Any:
            return functional_call(network, dict(weights), (x, condition))

        for look in self.player(self.unrolled).adversarial_terms:
            for side in look.sides.values():
                turn.side_sample(side)
        own = {name for name, side in turn.sides.items() if side.judge == self.unrolled}
        samples = {
            name: replace(sample, x=_own(sample.x), judge=judge) if name in own else sample
            for name, sample in turn.samples.items()
        }
        return replace(turn, networks={**turn.networks, self.unrolled: judge}, samples=samples)


def _own(x: Any) -> Any:
    """x as a node of this step's own: its slope must not pass through the weights, which earlier steps made of x."""
    if not isinstance(x, Tensor) or not x.requires_grad:
        return x
    return x.detach().requires_grad_() if x.is_leaf else x.view_as(x)
