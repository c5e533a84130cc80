"""The clock of a network that grows: which of its levels are in use after so many real images.

    level = min(levels - 1, images // period),     alpha = min(1, (images - level period) / fade) for level > 0, else 1

Karras et al. 2017 (arXiv:1710.10196), section 2 and appendix A: 800,000 images fade a level in, 800,000 more train it.
"""

from torch import Tensor, nn
from torch.nn.functional import interpolate


class GrowingNetwork(nn.Module):
    """A network with a block and an edge (a layer to or from pixels) per level; those not in use are `dormant`.

    Level and alpha follow from the number of images alone, so a run that goes on is where it was.
    Raises ValueError where a setting makes no sense.
    """

    def __init__(self, levels: int, period: int, fade: int) -> None:
        super().__init__()
        if levels < 1 or period < 1 or not 0 < fade <= period:
            raise ValueError(
                f"growing: levels={levels} and period={period} must be at least 1, and fade={fade} at most a period"
            )
        self.levels, self.period, self.fade = levels, period, fade
        self.blocks, self.edges = nn.ModuleList(), nn.ModuleList()
        self.level, self.alpha = 0, 1.0

    def at_images(self, images: int) -> None:
        """Take the level and its alpha after so many real images."""
        self.level = min(self.levels - 1, images // self.period)
        self.alpha = min(1.0, (images - self.level * self.period) / self.fade) if self.level else 1.0
        for k, (block, edge) in enumerate(zip(self.blocks, self.edges, strict=True)):
            _set_dormant(block, k > self.level)
            _set_dormant(edge, not (k == self.level or (k == self.level - 1 and self.alpha < 1)))

    def extra_repr(self) -> str:
        return f"levels={self.levels}, period={self.period}, fade={self.fade}"


def _set_dormant(module: nn.Module, dormant: bool) -> None:
    """Mark a module and all in it: their parameters are not in use, so that no loss has to reach them."""
    for part in module.modules():
        part.dormant = dormant  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def upsample(x: Tensor, times: int = 1) -> Tensor:
    """x [N, C, H, W] with each pixel repeated 2^times times along both sides."""
    return interpolate(x, scale_factor=2.0**times, mode="nearest") if times else x
