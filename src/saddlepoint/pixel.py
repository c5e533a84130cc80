"""Conversion between stored pixels (uint8 or uint16) and network values (float in [-1, 1])."""

import torch
from torch import Tensor

LEVELS = {torch.uint8: 255, torch.uint16: 65535}  # the largest value of each stored dtype


def to_float(x: Tensor) -> Tensor:
    """Return x / 127.5 - 1 for uint8 and x / 32767.5 - 1 for uint16, as float32 in [-1, 1]; any other x unchanged."""
    largest = LEVELS.get(x.dtype)
    return x if largest is None else x.to(torch.float32).div_(largest / 2).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Return 127.5 (x + 1), rounded and clamped to uint8: the inverse of `to_float` on [-1, 1]."""
    return x.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def to_uint16(x: Tensor) -> Tensor:
    """Return 32767.5 (x + 1), rounded and clamped to uint16: the inverse of `to_float`, up to float32 precision."""
    return x.add(1).mul_(32767.5).round_().clamp_(0, 65535).to(torch.uint16)
