"""Images are uint8 or uint16 outside and float in [-1, 1] inside.  Points pass unchanged."""

import torch
from torch import Tensor

LEVELS = {torch.uint8: 255, torch.uint16: 65535}  # the largest value of each stored form


def to_float(x: Tensor) -> Tensor:
    """x / 127.5 - 1, float32 in [-1, 1], for uint8 x of any shape, x / 32767.5 - 1 for uint16 x; other x as it is."""
    most = LEVELS.get(x.dtype)
    return x if most is None else x.to(torch.float32).div_(most / 2).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """127.5 (x + 1), rounded and clamped to uint8: the inverse of `to_float` on [-1, 1]."""
    return x.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def to_uint16(x: Tensor) -> Tensor:
    """32767.5 (x + 1), rounded and clamped to uint16: the inverse of `to_float` on [-1, 1], as exact as float32 is."""
    return x.add(1).mul_(32767.5).round_().clamp_(0, 65535).to(torch.uint16)
