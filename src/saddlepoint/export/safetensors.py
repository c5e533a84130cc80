"""Weights as safetensors: tensors by name and nothing that could run; the network is built from its description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from saddlepoint.error import Mistake

FILE = "generator.safetensors"


def write(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state."""
    path.write_bytes(safetensors.torch.save(dict(state), {"format": "pt"}))


def fill(network: nn.Module, path: Path) -> nn.Module:
    """`network` with the weights of the file.  Raises Mistake where it holds none, or another network's."""
    try:
        state = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise Mistake(f"{path} is no safetensors file, or is broken: {str(error).splitlines()[0]}") from None
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise Mistake(
            f"{path} holds the weights of another network: {lines[min(1, len(lines) - 1)].strip()[:200]}"
        ) from None
    return network
