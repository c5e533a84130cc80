"""A moving average of a player's network, with a half-life in images.

Another one counts a player's turns and corrects for its start at zero (`CorrectedAverage`).
Yazici et al. 2018 (arXiv:1806.04498); half-life and warm-up in images as in Karras et al. 2019 (arXiv:1912.04958).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.mode import in_mode
from saddlepoint.schedule.schedule import value_at

BatchNorm = nn.modules.batchnorm._BatchNorm


class Average(nn.Module):
    """average <- b average + (1 - b) live,  b = 2^(-images since the last update / half-life).

    The half-life is at most `warm_up` times the images so far (null: at once the full one), so that early, bad weights
    are forgotten. Floating buffers, and so batch-norm statistics, are averaged alike; with statistics="reestimated"
    they are measured anew, for the averaged weights, before the average is used. The live network's own statistics
    belong to other weights and are never copied.
    """

    def __init__(
        self,
        network: nn.Module,
        half_life: float | Callable[[int], float] = 20_000,
        warm_up: float | None = 0.05,
        statistics: str = "averaged",
    ) -> None:
        super().__init__()
        if statistics not in ("averaged", "reestimated"):
            raise ValueError(f"average: statistics={statistics} must be averaged or reestimated")
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.half_life, self.warm_up, self.statistics = half_life, warm_up, statistics
        self.images = 0
        self.has_stale_statistics = True  # whether statistics are those of older weights

    def train(self, mode: bool = True) -> Average:
        """Itself: an average is only ever looked at, so it stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, network: nn.Module, images: int) -> None:
        """Follow `network`, as it is after `images` images."""
        share = self._share(images)
        self.images, self.has_stale_statistics = images, True
        ours, theirs = _numbers(self.network), _numbers(network)
        torch._foreach_lerp_([ours[name] for name in ours], [theirs[name] for name in ours], share)  # pyright: ignore[reportPrivateImportUsage]

    def _share(self, images: int) -> float:
        """The part of the live network in the average after `images` images, 1 - b."""
        half_life = value_at(self.half_life, images)
        if self.warm_up is not None:
            half_life = min(half_life, self.warm_up * images)
        return 1 - 0.5 ** ((images - self.images) / half_life) if half_life > 0 else 1.0

    @torch.no_grad()
    def reestimate_statistics(self, arguments: Iterable[tuple[Any, ...]]) -> None:
        """Set batch-norm statistics to the mean over forward passes on `arguments`; nothing without such layers."""
        layers = [layer for layer in self.network.modules() if isinstance(layer, BatchNorm)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # None: the plain mean over passes
        with in_mode(*layers, training=True):
            for argument in arguments if layers else ():
                self.network(*argument)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        self.has_stale_statistics = False

    def get_extra_state(self) -> dict[str, int]:
        return {"images": self.images}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.images, self.has_stale_statistics = state["images"], True


class CorrectedAverage(Average):
    """a <- (1 - rate) a + rate live at each of the player's turns, from a = 0;  average = a / (1 - (1 - rate)^turns).

    The correction of Adam's moments (Kingma & Ba 2014, arXiv:1412.6980, section 3). The code of Salimans et al. 2016
    averages D without it, and its biases are then too small by the same factor for tens of epochs. Kept in the form

        average <- average + s (live - average),   s = rate / (1 - (1 - rate)^turns),

    which is the same number, and exactly the weights where these stay what they are.
    Raises ValueError unless 0 < rate <= 1.
    """

    def __init__(self, network: nn.Module, rate: float = 1e-4, statistics: str = "averaged") -> None:
        super().__init__(network, statistics=statistics)
        if not 0 < rate <= 1:
            raise ValueError(f"average: rate={rate} must be above 0 and at most 1")
        self.rate, self.turns = rate, 0

    def _share(self, images: int) -> float:
        self.turns += 1
        return self.rate / -math.expm1(self.turns * math.log1p(-self.rate)) if self.rate < 1 else 1.0

    def get_extra_state(self) -> dict[str, int]:
        return {**super().get_extra_state(), "turns": self.turns}

    def set_extra_state(self, state: dict[str, int]) -> None:
        super().set_extra_state(state)
        self.turns = state["turns"]


def _numbers(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and floating buffers by name; integer ones (batches counted) have no average."""
    return {
        name: tensor
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
        if tensor.is_floating_point()
    }
