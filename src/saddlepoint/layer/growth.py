"""Progressive growing: which levels of a network are in use after a number of real images.

    level = min(levels - 1, images // period),     alpha = min(1, (images - level period) / fade) for level > 0, else 1

Karras et al. 2017 (arXiv:1710.10196), section 2 and appendix A: each level fades in over 800,000 images and
is trained for 800,000 more.
"""

from torch import Tensor, nn
from torch.nn.functional import interpolate


class GrowingNetwork(nn.Module):
    """A network with a block and an edge (a layer to or from pixels) per level; unused ones are marked `dormant`.

    Level and alpha depend only on the number of images, so a resumed run continues at the same level.
    Raises ValueError if an argument is out of range.
    """

    def __init__(self, levels: int, period: int, fade: int) -> None:
        super().__init__()
        if levels < 1 or period < 1 or not 0 < fade <= period:
            raise ValueError(
                f"growing: levels={levels} and period={period} must be at least 1, and fade={fade} at most the period"
            )
        self.levels, self.period, self.fade = levels, period, fade
        self.blocks, self.edges = nn.ModuleList(), nn.ModuleList()
        self.level, self.alpha = 0, 1.0

    def at_images(self, images: int) -> None:
        """Set the level and its alpha for a number of real images."""
        self.level = min(self.levels - 1, images // self.period)
        self.alpha = min(1.0, (images - self.level * self.period) / self.fade) if self.level else 1.0
        for k, (block, edge) in enumerate(zip(self.blocks, self.edges, strict=True)):
            _set_dormant(block, k > self.level)
            _set_dormant(edge, not (k == self.level or (k == self.level - 1 and self.alpha < 1)))

    def extra_repr(self) -> str:
        return f"levels={self.levels}, period={self.period}, fade={self.fade}"


def _set_dormant(module: nn.Module, dormant: bool) -> None:
    """Set `dormant` on a module and all its children: no loss needs to reach their parameters."""
    for child in module.modules():
        child.dormant = dormant  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def upsample(x: Tensor, times: int = 1) -> Tensor:
    """Repeat each pixel of x [N, C, H, W] 2^times times along both sides."""
    return interpolate(x, scale_factor=2.0**times, mode="nearest") if times else x
