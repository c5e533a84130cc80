"""Adaptive discriminator augmentation: random distortions in front of D, with a probability that follows overfitting.

    r = E sign(D(real)),     p <- p + sign(r - target) images / speed,     kept in [0, 1]

Each distortion of each sample is applied with probability p, to reals and fakes; G's gradient passes through it.
Karras et al. 2020 (arXiv:2006.06676), sections 2 and 3: r_t of their eq. 1, target 0.6, from 0 to 1 in 500,000 images,
adjusted every 4 minibatches.

The distortions, differentiable functions of uniform numbers, are those of their appendix B that fit any number of
channels: a flip, an integer translation with reflection, brightness N(0, s^2), contrast 2^N(0, s^2); for points a shift
N(0, s^2). A number u is compared with p as u < p, so that at p = 0 every sample is what it was, bit for bit.
"""

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition, Turn

NUMBERS = 9  # uniform numbers that a sample [C, H, W] or [C, L] takes; points [D] take 1 + D


class AdaptiveAugment(nn.Module):
    """A maker of sides, x [N, C, H, W], [N, C, L] or points [N, D] -> the same shape; in evaluation mode x as it is.

    player, side  whose turns it listens to, and the judged side of reals whose logits it takes then
    target        of r; above it p rises. The sign of a logit is to say real or fake, which wasserstein's does not
    speed         images in which p goes from 0 to 1; None: it stays at `start`
    every         turns between two adjustments
    flip          whether the last dimension is mirrored, half of the times
    translate     largest part of a side;  brightness, contrast, shift: standard deviations, the second of a log2
    The condition's entry `numbers` [N, 9] (points: [N, 1 + D]) are uniform on [0, 1): a named draw, so that they are
    drawn for the batch of all ranks together. p and what it is taken from are buffers, saved with the game.
    Raises ValueError where a setting makes no sense.
    """

    conditional = True
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
        self.register_buffer(
            "seen", torch.zeros(3, dtype=torch.int64)
        )  # sum of signs, reals and turns since p last moved

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """x, distorted.  Raises Mistake where the numbers are not there, or too few."""
        numbers = condition_entry(condition, "numbers", "adaptive augment")
        if not self.training:
            return x
        space = x.shape[2:]  # none: points, which are shifted
        needed = NUMBERS if space else 1 + x.shape[1]
        if numbers.shape[1] < needed:
            raise Mistake(
                f"adaptive augment takes {needed} numbers per sample of shape {list(x.shape[1:])}, and its draw has "
                f"{numbers.shape[1]}: set its dim to {needed} (game.draws.<draw>.z.dim)"
            )
        if not space:
            return shifted(x, numbers, self.p, self.shift)
        return distorted(x, numbers, self.p, self.flip, self.translate, self.brightness, self.contrast)

    @torch.no_grad()
    def after_turn(self, player: str, turn: Turn) -> None:
        """Take the signs of D(real) after a turn of `player`, over all ranks, and move p after each `every`-th."""
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


def shifted(x: Tensor, numbers: Tensor, p: Tensor, shift: float) -> Tensor:
    """Points [N, D], shifted by `shift` N(0, I); numbers [N, 1 + D]."""
    moved = x + shift * _normal(numbers[:, 1 : 1 + x.shape[1]]).to(x.dtype)
    return torch.where(numbers[:, :1] < p, moved, x)


def distorted(
    x: Tensor, numbers: Tensor, p: Tensor, flip: bool, translate: float, brightness: float, contrast: float
) -> Tensor:
    """x [N, C, H, W] or [N, C, L], mirrored, moved by at most `translate` of a side, brighter, steeper.

    numbers [N, 9], uniform on [0, 1).
    """
    column = [own.view(-1, *[1] * (x.ndim - 1)) for own in numbers.unbind(1)]
    if flip:
        x = torch.where((column[0] < p) & (column[1] < 0.5), x.flip(-1), x)
    for dim, place in zip(range(x.ndim - 1, 1, -1), (3, 4), strict=False):
        reach = int(translate * x.shape[dim])
        steps = (numbers[:, place] * (2 * reach + 1)).long() - reach
        x = _moved(x, torch.where(numbers[:, 2] < p, steps, 0), dim)
    x = torch.where(column[5] < p, x + brightness * _normal(column[6]).to(x.dtype), x)
    return torch.where(column[7] < p, x * (contrast * _normal(column[8])).exp2().to(x.dtype), x)


def _normal(uniform: Tensor) -> Tensor:
    """N(0, 1) of U[0, 1)."""
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))


def _moved(x: Tensor, steps: Tensor, dim: int) -> Tensor:
    """x [N, ...], each sample moved by its number of places along `dim`, reflected at the border."""
    size = x.shape[dim]
    if size == 1:
        return x
    place = (torch.arange(size, device=x.device) - steps[:, None]) % (2 * size - 2)
    place = torch.minimum(place, 2 * size - 2 - place)
    return x.gather(dim, place.view(len(x), *(size if d == dim else 1 for d in range(1, x.ndim))).expand_as(x))
