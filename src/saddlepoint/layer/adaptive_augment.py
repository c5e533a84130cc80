"""Adaptive discriminator augmentation (ADA): random distortions before D, with a probability set by D's overfitting.

Each distortion is applied to each real and fake sample with probability p; G's gradient flows through it.
Karras et al. 2020 (arXiv:2006.06676), sections 2 and 3.  `adaptive_probability` adjusts p.

The distortions are differentiable functions of uniform random numbers. They are those of appendix B that work with any
number of channels: flip, integer translation with reflection, brightness N(0, s^2), contrast 2^N(0, s^2); for points, a
shift N(0, s^2). A distortion is applied if u < p, so at p = 0 every sample is unchanged bit for bit.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint.layer.adaptive_probability import AdaptiveProbability
from saddlepoint.layer.condition_entry import augmentation_numbers
from saddlepoint.turn import Condition

NUMBERS = 9  # uniform numbers per sample [C, H, W] or [C, L]; points [D] need 1 + D


class AdaptiveAugment(AdaptiveProbability):
    """A maker that distorts x [N, C, H, W], [N, C, L] or points [N, D]; in evaluation mode it returns x unchanged.

    player, side, start, target, speed, every   see `AdaptiveProbability`
    flip        whether to mirror the last dimension, with probability 1/2
    translate   maximum shift, as a fraction of the side length
    brightness  standard deviation of the added number
    contrast    standard deviation of log2 of the factor
    shift       standard deviation of the shift of points
    The condition's entry `numbers` [N, 9] (points: [N, 1 + D]) is uniform on [0, 1). It is a named draw, so that it is
    drawn once for the batch of all ranks.  Raises ValueError if an argument is out of range.
    """

    conditional = True

    def __init__(
        self,
        player: str = "discriminator",
        side: str = "augmented_real",
        start: float | Callable[[int], float] = 0.0,
        target: float = 0.6,
        speed: float | None = 500_000,
        every: int = 4,
        flip: bool = True,
        translate: float = 0.125,
        brightness: float = 0.2,
        contrast: float = 0.5,
        shift: float = 0.1,
    ) -> None:
        super().__init__(player, side, start, target, speed, every, "adaptive augment")
        if not 0 <= translate <= 1 or min(brightness, contrast, shift) < 0:
            raise ValueError("adaptive augment: translate goes from 0 to 1; brightness, contrast, shift from 0 on")
        self.flip, self.translate, self.brightness = flip, translate, brightness
        self.contrast, self.shift = contrast, shift

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return x, distorted.  Raises Mistake if the condition has no `numbers` or too few of them."""
        if not self.training:
            return x
        space = x.shape[2:]  # empty for points
        numbers = augmentation_numbers(condition, x, NUMBERS if space else 1 + x.shape[1], "adaptive augment")
        if not space:
            return shift_points(x, numbers, self.p, self.shift)
        return distort(x, numbers, self.p, self.flip, self.translate, self.brightness, self.contrast)


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
        x = _translate_reflected(x, torch.where(numbers[:, 2] < p, steps, 0), dim)
    x = torch.where(column[5] < p, x + brightness * _to_normal(column[6]).to(x.dtype), x)
    return torch.where(column[7] < p, x * (contrast * _to_normal(column[8])).exp2().to(x.dtype), x)


def _to_normal(uniform: Tensor) -> Tensor:
    """Map U[0, 1) to N(0, 1)."""
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))


def _translate_reflected(x: Tensor, steps: Tensor, dim: int) -> Tensor:
    """Translate each sample of x [N, ...] by its number of steps along `dim`, with reflection at the border."""
    size = x.shape[dim]
    if size == 1:
        return x
    index = (torch.arange(size, device=x.device) - steps[:, None]) % (2 * size - 2)
    index = torch.minimum(index, 2 * size - 2 - index)
    return x.gather(dim, index.view(len(x), *(size if d == dim else 1 for d in range(1, x.ndim))).expand_as(x))
