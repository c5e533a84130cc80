"""Adaptive discriminator augmentation (ADA): random distortions before D, with a probability set by D's overfitting.

    r = E sign(D(real)),     p <- p + sign(r - target) images / speed,     clipped to [0, 1]

Each distortion is applied to each real and fake sample with probability p; G's gradient flows through it.
Karras et al. 2020 (arXiv:2006.06676), sections 2 and 3: r_t of eq. 1, target 0.6, from 0 to 1 in 500,000 images,
adjusted every 4 minibatches.

The distortions are differentiable functions of uniform random numbers. They are those of appendix B that work with any
number of channels: flip, integer translation with reflection, brightness N(0, s^2), contrast 2^N(0, s^2); for points, a
shift N(0, s^2). A distortion is applied if u < p, so at p = 0 every sample is unchanged bit for bit.
"""

from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.objective.logit_gradient import logit_gradient
from saddlepoint.turn import Condition, Turn

NUMBERS = 9  # uniform numbers per sample [C, H, W] or [C, L]; points [D] need 1 + D


class AdaptiveAugment(nn.Module):
    """A maker that distorts x [N, C, H, W], [N, C, L] or points [N, D]; in evaluation mode it returns x unchanged.

    player      p is adjusted after its turns
    side        side of reals whose logits adjust p
    start       initial p
    target      of r; above it p rises
    speed       images for a change of p from 0 to 1; None: p stays at `start`
    every       turns between two adjustments
    flip        whether to mirror the last dimension, with probability 1/2
    translate   maximum shift, as a fraction of the side length
    brightness  standard deviation of the added number
    contrast    standard deviation of log2 of the factor
    shift       standard deviation of the shift of points
    The condition's entry `numbers` [N, 9] (points: [N, 1 + D]) is uniform on [0, 1). It is a named draw, so that it is
    drawn once for the batch of all ranks. p and its statistics are buffers, saved with the game.
    Raises ValueError if an argument is out of range.
    """

    conditional = True
    logged = ("p",)
    p: Tensor
    seen: Tensor

    def __init__(
        self,
        player: str = "discriminator",
        side: str = "augmented_real",
        start: float = 0.0,
        target: float = 0.6,
        speed: float | None = 500_000,
        every: int = 4,
        flip: bool = True,
        translate: float = 0.125,
        brightness: float = 0.2,
        contrast: float = 0.5,
        shift: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= start <= 1:
            raise ValueError(f"adaptive augment: start={start} is a probability, from 0 to 1")
        if not -1 <= target <= 1:
            raise ValueError(f"adaptive augment: target={target} is a mean of signs, from -1 to 1")
        if every < 1 or (speed is not None and speed <= 0):
            raise ValueError(f"adaptive augment: every={every} and speed={speed} must be at least 1, and above 0")
        if not 0 <= translate <= 1 or min(brightness, contrast, shift) < 0:
            raise ValueError("adaptive augment: translate goes from 0 to 1; brightness, contrast, shift from 0 on")
        self.player, self.side, self.target, self.speed, self.every = player, side, target, speed, every
        self.flip, self.translate, self.brightness = flip, translate, brightness
        self.contrast, self.shift = contrast, shift
        self.register_buffer("p", torch.tensor(float(start)))
        # since the last adjustment: sum of signs, number of reals, turns
        self.register_buffer("seen", torch.zeros(3, dtype=torch.int64))

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return x, distorted.  Raises Mistake if the condition has no `numbers` or too few of them."""
        numbers = condition_entry(condition, "numbers", "adaptive augment")
        if not self.training:
            return x
        space = x.shape[2:]  # empty for points
        needed = NUMBERS if space else 1 + x.shape[1]
        if numbers.shape[1] < needed:
            raise Mistake(
                f"adaptive augment needs {needed} numbers per sample of shape {list(x.shape[1:])}, but its draw has "
                f"{numbers.shape[1]}: set its dim to {needed} (game.draws.<draw>.z.dim)"
            )
        if not space:
            return shift_points(x, numbers, self.p, self.shift)
        return distort(x, numbers, self.p, self.flip, self.translate, self.brightness, self.contrast)

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

    @torch.no_grad()
    def after_turn(self, player: str, turn: Turn) -> None:
        """Add the signs of D(real) of all ranks after a turn of `player`; adjust p after every `every` turns."""
        if player != self.player or self.speed is None:
            return
        signs = turn.side_sample(self.side).logits.sign()
        self.seen[:2] += ranks.all_reduce(torch.stack([signs.sum().long(), self.seen.new_tensor(signs.numel())]))
        self.seen[2] += 1
        surplus, images, turns = self.seen
        if turns < self.every:
            return
        self.p.add_((surplus / images - self.target).sign() * images / self.speed).clamp_(0, 1)
        self.seen.zero_()

    def extra_repr(self) -> str:
        return f"p={float(self.p):.3f}, target={self.target}, speed={self.speed}"


def shift_points(x: Tensor, numbers: Tensor, p: Tensor, shift: float) -> Tensor:
    """Shift points [N, D] by `shift` N(0, I) with probability p; numbers [N, 1 + D]."""
    shifted = x + shift * _to_normal(numbers[:, 1 : 1 + x.shape[1]]).to(x.dtype)
    return torch.where(numbers[:, :1] < p, shifted, x)


def distort(
    x: Tensor, numbers: Tensor, p: Tensor, flip: bool, translate: float, brightness: float, contrast: float
) -> Tensor:
    """Flip, translate, brighten and contrast x [N, C, H, W] or [N, C, L], each with probability p.

    numbers [N, 9], uniform on [0, 1).
    """
    column = [u.view(-1, *[1] * (x.ndim - 1)) for u in numbers.unbind(1)]
    if flip:
        x = torch.where((column[0] < p) & (column[1] < 0.5), x.flip(-1), x)
    for dim, number in zip(range(x.ndim - 1, 1, -1), (3, 4), strict=False):
        reach = int(translate * x.shape[dim])
        steps = (numbers[:, number] * (2 * reach + 1)).long() - reach
        x = _translate(x, torch.where(numbers[:, 2] < p, steps, 0), dim)
    x = torch.where(column[5] < p, x + brightness * _to_normal(column[6]).to(x.dtype), x)
    return torch.where(column[7] < p, x * (contrast * _to_normal(column[8])).exp2().to(x.dtype), x)


def _to_normal(uniform: Tensor) -> Tensor:
    """Map U[0, 1) to N(0, 1)."""
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))


def _translate(x: Tensor, steps: Tensor, dim: int) -> Tensor:
    """Translate each sample of x [N, ...] by its number of steps along `dim`, with reflection at the border."""
    size = x.shape[dim]
    if size == 1:
        return x
    index = (torch.arange(size, device=x.device) - steps[:, None]) % (2 * size - 2)
    index = torch.minimum(index, 2 * size - 2 - index)
    return x.gather(dim, index.view(len(x), *(size if d == dim else 1 for d in range(1, x.ndim))).expand_as(x))
