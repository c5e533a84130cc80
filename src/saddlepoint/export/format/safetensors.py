"""Weights as safetensors: tensors by name, and no code.  The network is built from the description."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from saddlepoint.error import Mistake, first_line
from saddlepoint.game.sampling import load_sampling_state

FILE = "generator.safetensors"


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict; weights that two layers share are written twice."""
    unshared = {name: t.clone() for name, t in state.items()}
    path.write_bytes(safetensors.torch.save(unshared, {"format": "pt"}))


def load_weights(networks: Mapping[str, nn.Module], path: Path) -> None:
    """Load the weights in a file (`sampling_state`) into networks.

    Raises Mistake if it is not a safetensors file, or if the weights do not fit.
    """
    try:
        state = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise Mistake(f"{path} is not a safetensors file, or is broken: {first_line(error)}") from None
    try:
        load_sampling_state(networks, state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise Mistake(
            f"{path} holds the weights of another network: {lines[min(1, len(lines) - 1)].strip()[:200]}"
        ) from None
