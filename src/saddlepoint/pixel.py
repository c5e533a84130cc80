"""The border of the house: images are uint8 outside and float in [-1, 1] inside.  Points pass unchanged."""

import torch
from torch import Tensor


def to_float(x: Tensor) -> Tensor:
    """x / 127.5 - 1, float32 in [-1, 1], for uint8 x of any shape; x itself for any other dtype (points)."""
    return x.to(torch.float32).div_(127.5).sub_(1) if x.dtype == torch.uint8 else x


def to_uint8(x: Tensor) -> Tensor:
    """127.5 (x + 1), rounded and clamped to uint8: the inverse of `to_float` on [-1, 1]."""
    return x.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
