"""Free-form masks of an inpainting task: the union of random brush strokes.

A stroke is a chain of segments with round ends.  It starts at a uniform position.  Segment i has a length
U(0, `length`), a width U(0, `brush`), and the direction U(0, `angle`) or its negative, in turn.  Yu et al. 2018
(arXiv:1806.03589), algorithm 1; the values of the limits are our own, since the paper gives none.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from saddlepoint.prior.prior import LatentPart
from saddlepoint.stream import Stream


class StrokeMask(LatentPart):
    """Masks [n, 1, H, W] for images of `shape` [C, H, W]: 1 at pixels inside a stroke, else 0.

    strokes   maximum number of strokes; the number is uniform on 1, ..., strokes
    vertices  maximum number of segments of a stroke; the number is uniform on 1, ..., vertices
    length    maximum length of a segment, as a fraction of the longer side
    brush     maximum width of a segment, as a fraction of the longer side; strokes are at least a pixel wide
    angle     maximum angle of a segment with the horizontal axis, in radians
    Half of the strokes are turned by pi, in place of the paper's random flips.  Strokes are cut off at the border.
    Raises ValueError if `shape` is no image or a limit is out of range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        strokes: int = 4,
        vertices: int = 8,
        length: float = 0.4,
        brush: float = 0.25,
        angle: float = 2.0,
    ) -> None:
        super().__init__(1)
        if len(shape) != 3:
            raise ValueError(f"StrokeMask: shape={list(shape)} must be that of images, [channels, height, width]")
        if min(strokes, vertices) < 1:
            raise ValueError(f"StrokeMask: strokes={strokes} and vertices={vertices} must be at least 1")
        if not (0 < length <= 2 and 0 < brush <= 1 and angle >= 0):
            raise ValueError(
                f"StrokeMask: length={length} must be in (0, 2], brush={brush} in (0, 1], angle={angle} at least 0"
            )
        self.space, self.strokes, self.vertices = (int(shape[1]), int(shape[2])), strokes, vertices
        self.length, self.brush, self.angle = length, brush, angle

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw n masks, [n, 1, H, W]."""
        u = stream.uniform(n, 1 + self.strokes * (4 + 3 * self.vertices))
        n_strokes = (u[:, 0] * self.strokes).long() + 1
        mask = torch.zeros(n, *self.space, dtype=torch.bool, device=u.device)
        for i, stroke in enumerate(u[:, 1:].view(n, self.strokes, -1).unbind(1)):
            mask |= self._draw_stroke(stroke) & (i < n_strokes)[:, None, None]
        return mask[:, None].to(torch.get_default_dtype())

    def _draw_stroke(self, u: Tensor) -> Tensor:
        """Return one stroke per row of uniform numbers [n, 4 + 3 vertices]: bool [n, H, W]."""
        height, width = self.space
        side = max(self.space)
        start = u[:, :2] * torch.tensor([height, width], device=u.device)  # (row, column) in pixels
        n_vertices = (u[:, 2] * self.vertices).long() + 1
        turn = torch.where(u[:, 3] < 0.5, torch.pi, 0.0)
        mask = torch.zeros(len(u), *self.space, dtype=torch.bool, device=u.device)
        for i, segment in enumerate(u[:, 4:].view(len(u), self.vertices, 3).unbind(1)):
            angle, length, brush = segment.unbind(1)
            direction = turn + self.angle * angle * (-1) ** i
            step = self.length * side * length[:, None] * torch.stack([direction.sin(), direction.cos()], 1)
            radius = (self.brush * side * brush / 2).clamp(min=0.5)
            mask |= _is_near_segment(start, start + step, radius, self.space) & (i < n_vertices)[:, None, None]
            start = start + step
        return mask

    def extra_repr(self) -> str:
        return f"strokes={self.strokes}, vertices={self.vertices}, length={self.length}, brush={self.brush}"


def _is_near_segment(start: Tensor, end: Tensor, radius: Tensor, space: tuple[int, int]) -> Tensor:
    """Return whether each pixel's centre p is within `radius` [n] of the segments from `start` s to `end`, [n, 2]."""
    row, column = (
        torch.arange(size, device=start.device) + 0.5 - start[:, dim, None] for dim, size in enumerate(space)
    )  # p - s, [n, H] and [n, W]
    along, squared_length = end - start, (end - start).square().sum(1)[:, None, None]
    dot = (row * along[:, :1])[:, :, None] + (column * along[:, 1:])[:, None]
    t = (dot / squared_length.clamp(min=1e-12)).clamp_(0, 1)  # of the nearest point s + t (end - s)
    squared_distance = row.square()[:, :, None] + column.square()[:, None] - t * (2 * dot - t * squared_length)
    return squared_distance <= radius.square()[:, None, None]
