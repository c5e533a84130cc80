"""Spectral normalisation: every weight is divided by its largest singular value, W / sigma(W), by power iteration.

Miyato et al. 2018 (arXiv:1802.05957), algorithm 1, with torch's parametrization: one iteration per forward pass in
training mode, convolutions as matrices [out, in * height * width].
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from saddlepoint.error import did_you_mean
from saddlepoint.mode import in_mode
from saddlepoint.turn import UNCONDITIONAL, Condition, Turn

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class SpectralNorm(nn.Module):
    """`network` with all linear maps, convolutions and embeddings normalised, those of readout and heads included.

    iterations  power iterations per forward pass in training mode
    eps         lower bound of the norms in the iteration
    skip        names of submodules that are left as they are, "readout" for one
    A moving average of the network averages singular vectors too, which then have norms below 1 and give too small a
    sigma. So an average iterates after every turn, on its own weights.
    Raises ValueError if iterations < 1, if a name in skip is not a submodule, or if nothing is left to normalise.
    """

    def __init__(self, network: nn.Module, iterations: int = 1, eps: float = 1e-12, skip: Sequence[str] = ()) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError(f"spectral norm: iterations={iterations} must be at least 1")
        submodules = dict(network.named_modules())
        if unknown := [name for name in skip if name not in submodules]:
            names = sorted(filter(None, submodules))  # without "", the network itself
            raise ValueError(
                f"spectral norm: skip={unknown[0]} is not a submodule.{did_you_mean(unknown[0], names)} There are "
                f"{', '.join(names)}"
            )
        skipped = {id(module) for name in skip for module in submodules[name].modules()}
        maps = [m for m in submodules.values() if isinstance(m, (*LINEAR, nn.Embedding)) and id(m) not in skipped]
        if not maps:
            raise ValueError(f"spectral norm: {type(network).__name__} has no linear map or convolution to normalise")
        for module in maps:
            spectral_norm(module, n_power_iterations=iterations, eps=eps)
        self.network = network

    def forward(self, x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        """The output of `network`."""
        return self.network(x, condition)

    @torch.no_grad()
    def after_turn(self, player: str, turn: Turn) -> None:
        """One forward pass's iterations on the weights of an average, which is always in evaluation mode."""
        if not self.training:
            maps = [module for module in self.modules() if is_parametrized(module, "weight")]
            with in_mode(*maps, training=True):
                for module in maps:
                    _ = module.weight
