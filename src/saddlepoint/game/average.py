"""Moving averages (EMA) of the weights of a player.

`Average` has a half-life in images; `CorrectedAverage` counts turns and corrects the bias of a start at zero.
Yazici et al. 2018 (arXiv:1806.04498); half-life and warm-up in images as in Karras et al. 2019 (arXiv:1912.04958).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from saddlepoint.mode import in_mode
from saddlepoint.schedule.schedule import value_at

BatchNorm = nn.modules.batchnorm._BatchNorm


class Average(nn.Module):
    """average <- b average + (1 - b) live,  b = 2^(-images since the last update / half-life).

    The half-life is at most `warm_up` times the images so far (None: no such limit), so that the bad weights at the
    start are forgotten. Floating-point buffers, such as batch-norm statistics, are averaged too. With
    statistics="reestimated", batch-norm statistics are computed for the averaged weights before these are used. The
    statistics of the live network are never copied, because they belong to other weights.
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
        self.has_stale_statistics = True  # whether the weights have changed since statistics were re-estimated

    def train(self, mode: bool = True) -> Average:
        """Return self in evaluation mode: an average is never trained."""
        return super().train(False)

    @torch.no_grad()
    def update(self, network: nn.Module, images: int) -> None:
        """Update the average with the weights of `network` after `images` images."""
        live_weight = self._next_live_weight(images)
        vars(self).update(images=images, has_stale_statistics=True)  # nn.Module.__setattr__ takes longer than the rest
        torch._foreach_lerp_(_floating_tensors(self.network), _floating_tensors(network), live_weight)  # pyright: ignore[reportPrivateImportUsage]

    def _next_live_weight(self, images: int) -> float:
        """Return 1 - b, the weight of the live network in an update after `images` images."""
        half_life = value_at(self.half_life, images)
        if self.warm_up is not None:
            half_life = min(half_life, self.warm_up * images)
        return 1 - 0.5 ** ((images - self.images) / half_life) if half_life > 0 else 1.0

    @torch.no_grad()
    def reestimate_statistics(self, arguments: Iterable[tuple[Any, ...]]) -> None:
        """Set batch-norm statistics to their mean over forward passes on `arguments`; no passes without such layers."""
        layers = [layer for layer in self.network.modules() if isinstance(layer, BatchNorm)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # None: the cumulative mean over passes
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
    """a <- (1 - rate) a + rate live at each turn of the player, from a = 0;  average = a / (1 - (1 - rate)^turns).

    The bias correction of Adam's moments (Kingma & Ba 2014, arXiv:1412.6980, section 3). The code of Salimans et al.
    2016 averages D without it, which scales D's biases down for tens of epochs. The average is stored as

        average <- average + s (live - average),   s = rate / (1 - (1 - rate)^turns),

    which is the same value, and exact if the weights do not change.
    Raises ValueError unless 0 < rate <= 1.
    """

    def __init__(self, network: nn.Module, rate: float = 1e-4, statistics: str = "averaged") -> None:
        super().__init__(network, statistics=statistics)
        if not 0 < rate <= 1:
            raise ValueError(f"average: rate={rate} must be above 0 and at most 1")
        self.rate, self.turns = rate, 0

    def _next_live_weight(self, images: int) -> float:
        self.turns += 1
        return self.rate / -math.expm1(self.turns * math.log1p(-self.rate)) if self.rate < 1 else 1.0

    def get_extra_state(self) -> dict[str, int]:
        return {**super().get_extra_state(), "turns": self.turns}

    def set_extra_state(self, state: dict[str, int]) -> None:
        super().set_extra_state(state)
        self.turns = state["turns"]


def _floating_tensors(network: nn.Module) -> list[Tensor]:
    """Return parameters and floating-point buffers; integer buffers (batch counters) have no average.

    The search through all modules takes longer than the update of a small network, so its result is kept; tensors are
    looked up each time, because a buffer may be replaced. Parameters must not be added after the first update.
    """
    if (entries := _ENTRIES.get(network)) is None:
        by_tensor = {  # a tensor that several modules share has one entry
            id(tensor): (owner, name)
            for module in network.modules()
            for owner in (module._parameters, module._buffers)
            for name, tensor in owner.items()
            if tensor is not None and tensor.is_floating_point()
        }
        entries = _ENTRIES[network] = list(by_tensor.values())
    return [owner[name] for owner, name in entries]


_ENTRIES: WeakKeyDictionary[nn.Module, list[tuple[dict[str, Any], str]]] = WeakKeyDictionary()
