"""Named random streams that are independent of each other and of the number of ranks.

Each stream is a CPU generator seeded from (seed, name), so drawing more from one (interpolation coefficients, samples
for an evaluation) does not change another. Every rank draws the whole global batch and keeps its own slice.
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

BLOCK = 16  # torch draws normals in blocks of 16; with whole blocks per row, n rows then m rows equal n + m rows


def derive_seed(seed: int, *names: object) -> int:
    """Return a seed in [0, 2^63): the first 8 bytes of sha256("seed/name/..."), without the top bit."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Stream:
    """A named random generator. Drawing n rows and then m rows equals drawing n + m rows at once.

    The state of a stream is that of its generator, so it saves and resumes exactly. Draws that must be independent come
    from children, each with its own state. A `joint` stream is its own child, so that its state is complete.
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
        self._next_index = 0

    def child(self, name: str) -> Stream:
        """Return the stream "<own name>/<name>" on the same rank and device; a joint stream returns itself.

        Repeated calls return the same stream.
        """
        if self.joint:
            return self
        child = self._children.setdefault(name, Stream(self.seed, f"{self.name}/{name}"))
        child.rank, child.world_size, child.device = self.rank, self.world_size, self.device
        return child

    def normal(self, n: int, *shape: int) -> Tensor:
        """Draw from N(0, 1), shape [n, *shape]."""
        width = math.prod(shape)
        padded = -(-width // BLOCK) * BLOCK
        draw = torch.randn(n * self.world_size, padded, generator=self.generator).narrow(1, 0, width)
        return self._rank_slice(draw if len(shape) == 1 else draw.reshape(-1, *shape), n)

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Draw from U[0, 1), shape [n, *shape]."""
        return self._rank_slice(torch.rand(n * self.world_size, *shape, generator=self.generator), n)

    def gumbel(self, n: int, *shape: int) -> Tensor:
        """Draw from Gumbel(0, 1), shape [n, *shape]: -log(-log u), u uniform, multiples of 2^-24 (2^-25 for 0)."""
        return -(-self.uniform(n, *shape).clamp(min=2.0**-25).log()).log()

    def integers(self, high: int, n: int) -> Tensor:
        """Draw uniformly from {0, ..., high - 1}, shape [n], int64."""
        return self._rank_slice(torch.randint(high, (n * self.world_size,), generator=self.generator), n)

    def consecutive(self, n: int) -> Tensor:
        """Return the next n integers, starting at 0: int64 [n] on the CPU. Not random, and not part of `state`."""
        first = self._next_index + self.rank * n
        self._next_index += n * self.world_size
        return torch.arange(first, first + n)

    def _rank_slice(self, draw: Tensor, n: int) -> Tensor:
        return (draw if self.world_size == 1 else draw[self.rank * n : (self.rank + 1) * n]).to(self.device)

    @property
    def state(self) -> Tensor:
        """The state of the generator, uint8."""
        return self.generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())


@contextmanager
def preserve_random_state(device: torch.device | str = "cpu", seed: int | None = None) -> Iterator[None]:
    """Restore torch's global generators on exit: the CPU's and, if `device` is a GPU, that GPU's.

    If `seed` is given, they are seeded with it inside the context. If `device` is the CPU, GPU generators are not
    touched.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
        yield


def global_random_state() -> dict[str, Any]:
    """Return the states of the global generators of torch, numpy and Python as plain numbers and tensors.

    Dropout, noise layers and initialisation draw from torch's.
    """
    kind, keys, *counters = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],  # only the device of this rank
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *map(float, counters)],
        "python": [version, list(internal), gauss],
    }


def set_global_random_state(state: dict[str, Any]) -> None:
    """Restore the global generators to a state returned by `global_random_state`."""
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"][0].cpu())
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), int(position), int(has_gauss), gauss))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
