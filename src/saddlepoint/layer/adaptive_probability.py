"""A probability that D's overfitting sets:  p <- p + sign(r - target) images / speed,  r = E sign(D(real)).

Karras et al. 2020 (arXiv:2006.06676), section 3.1: r_t of eq. 1, target 0.6, from 0 to 1 in 500,000 images, adjusted
every 4 minibatches.  Adaptive augmentation and adaptive pseudo augmentation use it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.objective.logit_gradient import logit_gradient
from saddlepoint.turn import Turn


class AdaptiveProbability(nn.Module):
    """The base of makers that change samples with probability p; p is logged as <maker>/p.

    player  p is adjusted after its turns
    side    side of reals whose logits adjust p
    start   initial p; with speed=None also a schedule of p
    target  of r; above it p rises
    speed   images for a change of p from 0 to 1; None: p stays at `start`
    every   turns between two adjustments
    p and its statistics are buffers, saved with the game.  Raises ValueError if an argument is out of range.
    """

    logged = ("p",)
    p: Tensor
    seen: Tensor

    def __init__(
        self,
        player: str,
        side: str,
        start: float | Callable[[int], float],
        target: float,
        speed: float | None,
        every: int,
        name: str,
    ) -> None:
        super().__init__()
        self.schedule = start if callable(start) else None
        if not 0 <= (p := start(0) if callable(start) else start) <= 1:
            raise ValueError(f"{name}: start={p} is a probability, from 0 to 1")
        if self.schedule is not None and speed is not None:
            raise ValueError(f"{name}: a schedule as start sets p, and so does speed={speed}: set speed=null")
        if not -1 <= target <= 1:
            raise ValueError(f"{name}: target={target} is a mean of signs, from -1 to 1")
        if every < 1 or (speed is not None and speed <= 0):
            raise ValueError(f"{name}: every={every} and speed={speed} must be at least 1, and above 0")
        self.player, self.side, self.target, self.speed, self.every = player, side, target, speed, every
        self.register_buffer("p", torch.tensor(float(p)))
        # since the last adjustment: sum of signs, number of logits, turns
        self.register_buffer("seen", torch.zeros(3, dtype=torch.int64))

    def check_game(self, game: Any) -> None:
        """Raise Mistake if the sign of a logit does not separate reals from fakes under the objective of `player`."""
        objective = game.players[self.player].objective if self.player in game.players else None
        if objective is None or self.speed is None:
            return
        low, middle, high = (sum(logit_gradient(objective, c, c)) for c in (-3.0, 0.0, 3.0))
        unknown = max(abs(low), abs(middle), abs(high)) < 1e-9  # only differences of logits count
        if unknown or middle < -1e-9:
            raise Mistake(
                f"p follows the sign of the logits of {self.player} on reals, but if reals and fakes are equal this "
                f"objective gives them {'any sign' if unknown else 'a positive sign'}. Choose another objective, or a "
                "constant p: speed=null start=<p>"
            )

    def at_images(self, images: int) -> None:
        """Set p to the value of its schedule, if it has one."""
        if self.schedule is not None:
            self.p.fill_(self.schedule(images))

    @torch.no_grad()
    def after_turn(self, player: str, turn: Turn) -> None:
        """Add the signs of D(real) of all ranks after a turn of `player`; adjust p after every `every` turns."""
        if player != self.player or self.speed is None:
            return
        signs = turn.side_sample(self.side).logits.sign()
        self.seen[:2] += ranks.all_reduce(torch.stack([signs.sum().long(), self.seen.new_tensor(signs.numel())]))
        self.seen[2] += 1
        surplus, count, turns = self.seen
        if turns < self.every:
            return
        images = count * len(signs) / signs.numel()  # a D of patches has several logits per image
        self.p.add_((surplus / count - self.target).sign() * images / self.speed).clamp_(0, 1)
        self.seen.zero_()

    def extra_repr(self) -> str:
        return f"p={float(self.p):.3f}, target={self.target}, speed={self.speed}"
