"""Weights as safetensors: tensors by name and nothing that could run; the network is built from its description."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from saddlepoint.error import Mistake, first_line
from saddlepoint.game.sampling import load_sampling_state

FILE = "generator.safetensors"


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state."""
    apart = {name: t.clone() for name, t in state.items()}  # weights that two layers share are written twice
    path.write_bytes(safetensors.torch.save(apart, {"format": "pt"}))


def load_weights(networks: Mapping[str, nn.Module], path: Path) -> None:
    """Put the weights of the file (`sampling_state`) into networks.  Raises Mistake where it holds none, or others'."""
    try:
        state = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise Mistake(f"{path} is no safetensors file, or is broken: {first_line(error)}") from None
    try:
        load_sampling_state(networks, state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise Mistake(
            f"{path} holds the weights of another network: {lines[min(1, len(lines) - 1)].strip()[:200]}"
        ) from None
