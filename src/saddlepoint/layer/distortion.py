"""Random distortions of samples, each applied with probability p, as functions of uniform numbers; differentiable.

Those of Karras et al. 2020 (arXiv:2006.06676), appendix B, that fit any number of channels: a flip, an integer
translation with reflection, brightness N(0, s^2), contrast 2^N(0, s^2); for points a shift N(0, s^2).
A number u is compared with p as u < p, so that at p = 0 every sample is what it was, bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

NUMBERS = 9  # uniform numbers that a sample [C, H, W] or [C, L] takes; points [D] take 1 + D


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
