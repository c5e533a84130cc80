"""DiffAugment: a fixed differentiable distortion of every real and fake sample before D.

Brightness + U(-1/2, 1/2) in units of half the range, saturation and contrast scaled about their means, translation by
at most 1/8 of a side with zero padding, and a cutout of half a side, each enabled by name. Zhao et al. 2020
(arXiv:2006.10738), section 4 and its code: U(0, 2) for saturation, U(1/2, 3/2) for contrast.

Distortions are always applied, so that D cannot tell all distributions apart (Karras et al. 2020, arXiv:2006.06676,
appendix C: a distortion that is left out with some probability leaks nothing). For example, shifts of images of 8, 32
or 64 pixels hide some distributions of positions, those of 16 or 28 do not.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.layer.condition_entry import augmentation_numbers
from saddlepoint.turn import Condition

NUMBERS = 7  # brightness, saturation, contrast; vertical and horizontal translation; vertical and horizontal cutout
POLICIES = ("color", "translation", "cutout")


class DiffAugment(nn.Module):
    """A maker that distorts images [N, C, H, W]; in evaluation mode it returns them unchanged.

    policies   of color, translation, cutout; the paper uses all three for the smallest data sets
    translate  maximum shift, as a fraction of the side
    cutout     side of the square that is set to 0, as a fraction of the side
    The condition's entry `numbers` [N, 7] is uniform on [0, 1). It is a named draw, so that it is drawn once for the
    batch of all ranks.  Raises ValueError if an argument is out of range.
    """

    conditional = True

    def __init__(self, policies: Sequence[str] = POLICIES, translate: float = 0.125, cutout: float = 0.5) -> None:
        super().__init__()
        for name in policies:
            if name not in POLICIES:
                raise ValueError(f"diff augment: no policy {name}.{did_you_mean(name, POLICIES)} Policies: {POLICIES}")
        if not 0 <= translate <= 1 or not 0 <= cutout <= 1:
            raise ValueError(f"diff augment: translate={translate} and cutout={cutout} must be between 0 and 1")
        self.policies, self.translate, self.cutout = tuple(policies), translate, cutout

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return x, distorted.  Raises Mistake if x is not images or the condition has too few `numbers`."""
        if x.ndim != 4:
            raise Mistake(
                f"diff augment needs images [N, C, H, W], and the samples are {list(x.shape)}: for audio and points "
                "use game=adaptive_augment"
            )
        if not self.training:
            return x
        # as they are drawn: in half precision 0.999 is 1, and fakes would have shifts and cutouts that reals never have
        u = augmentation_numbers(condition, x, NUMBERS, "diff augment")
        if "color" in self.policies:
            x = adjust_color(x, u[:, :3])
        if "translation" in self.policies:
            x = translate(x, u[:, 3:5], self.translate)
        return cut_out(x, u[:, 5:7], self.cutout) if "cutout" in self.policies else x

    def extra_repr(self) -> str:
        return f"policies={list(self.policies)}, translate={self.translate}, cutout={self.cutout}"


def adjust_color(x: Tensor, u: Tensor) -> Tensor:
    """Shift brightness by u0 - 1/2, scale saturation by 2 u1 and contrast by u2 + 1/2; u [N, 3] in [0, 1)."""
    brightness, saturation, contrast = (column.view(-1, 1, 1, 1) for column in u.to(x.dtype).unbind(1))
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def translate(x: Tensor, u: Tensor, largest: float) -> Tensor:
    """Shift each image by a whole number of pixels in [-largest * side, largest * side], zeros outside; u [N, 2]."""
    for dim in (2, 3):
        side = x.shape[dim]
        reach = int(side * largest + 0.5)
        steps = (u[:, dim - 2] * (2 * reach + 1)).long() - reach
        source = torch.arange(side, device=x.device) - steps[:, None]  # [N, side]
        inside = ((source >= 0) & (source < side)).to(x.dtype)
        view = (len(x), *(side if d == dim else 1 for d in (1, 2, 3)))
        x = x.gather(dim, source.clamp(0, side - 1).view(view).expand_as(x)) * inside.view(view)
    return x


def cut_out(x: Tensor, u: Tensor, fraction: float) -> Tensor:
    """Set a rectangle of `fraction` of each side to 0, centred anywhere in the image; u [N, 2]."""
    inside = torch.ones((), device=x.device, dtype=torch.bool)
    for dim in (2, 3):
        side = x.shape[dim]
        size = int(side * fraction + 0.5)
        first = (u[:, dim - 2] * (side + (1 - size % 2))).long() - size // 2
        place = torch.arange(side, device=x.device)
        within = (place >= first[:, None]) & (place < first[:, None] + size)  # [N, side]
        inside = inside & within.view(len(x), *(side if d == dim else 1 for d in (1, 2, 3)))
    return x * ~inside
