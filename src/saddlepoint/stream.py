"""Named sources of randomness that do not depend on one another, nor on the number of ranks.

Each stream is a CPU generator seeded from (seed, name), so that drawing more from one (an interpolation coefficient, a
sample for an evaluation) changes nothing in another. Every rank draws the whole global batch and keeps its own slice.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 16  # torch makes normals in blocks of 16; whole blocks per row make n rows and then m rows equal n + m rows


def derive_seed(seed: int, *names: object) -> int:
    """A seed in [0, 2^63) for what `names` name: the first 8 bytes of sha256("seed/name/..."), without the top bit."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Stream:
    """Draws of n rows per rank; n rows and then m rows are the n + m rows drawn at once.

    State is the generator's, so it saves and resumes exactly.  A stream has children, each with a state of its own, for
    draws that must not depend on one another; a `joint` one draws for them itself, so that its state is all there is.
    """

    def __init__(
        self,
        seed: int,
        name: str,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        joint: bool = False,
    ) -> None:
        self.seed, self.name = seed, name
        self.generator = torch.Generator().manual_seed(derive_seed(seed, name))
        self.rank, self.world_size, self.device, self.joint = rank, world_size, device, joint
        self._children: dict[str, Stream] = {}
        self._counted = 0

    def child(self, name: str) -> Stream:
        """The stream "<own name>/<name>", on this one's rank and device, or itself where it is joint.

        Each call goes on with the same one.
        """
        if self.joint:
            return self
        child = self._children.setdefault(name, Stream(self.seed, f"{self.name}/{name}"))
        child.rank, child.world_size, child.device = self.rank, self.world_size, self.device
        return child

    def normal(self, n: int, *shape: int) -> Tensor:
        """N(0, 1), shape [n, *shape]."""
        width = math.prod(shape)
        padded = -(-width // BLOCK) * BLOCK
        draw = torch.randn(n * self.world_size, padded, generator=self.generator)[:, :width]
        return self._own(draw.reshape(-1, *shape), n)

    def uniform(self, n: int, *shape: int) -> Tensor:
        """U[0, 1), shape [n, *shape]."""
        return self._own(torch.rand(n * self.world_size, *shape, generator=self.generator), n)

    def integers(self, high: int, n: int) -> Tensor:
        """Uniform on {0, ..., high - 1}, shape [n], int64."""
        return self._own(torch.randint(high, (n * self.world_size,), generator=self.generator), n)

    def consecutive(self, n: int) -> Tensor:
        """The next n whole numbers, counted from 0 on, int64 [n], on the CPU: no draw, and no part of `state`."""
        first = self._counted + self.rank * n
        self._counted += n * self.world_size
        return torch.arange(first, first + n)

    def _own(self, draw: Tensor, n: int) -> Tensor:
        return draw[self.rank * n : (self.rank + 1) * n].to(self.device)

    @property
    def state(self) -> Tensor:
        """The generator's state, uint8."""
        return self.generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())


@contextmanager
def preserve_random_state(device: torch.device | str = "cpu", seed: int | None = None) -> Iterator[None]:
    """Torch's global generators, the CPU's and a GPU `device`'s, end as they began; within, they start from `seed`.

    `seed` None: from where they are.  With `device` the CPU, an accelerator's generators are left alone.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
        yield


def global_random_state() -> dict[str, Any]:
    """The fifth stream, torch's, numpy's and Python's own generators, in plain numbers and tensors.

    Dropout, noise layers and initialisation draw from it.
    """
    kind, keys, *rest = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],  # of this rank's own device
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *map(float, rest)],
        "python": [version, list(internal), gauss],
    }


def set_global_random_state(state: dict[str, Any]) -> None:
    """Put the global generators back to a state that `global_state` returned."""
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"][0].cpu())
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), int(position), int(has_gauss), gauss))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
