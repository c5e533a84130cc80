"""A generator apart from any game: latents, and classes where it is asked for one, in; samples in [-1, 1] out.

Who made the network does not matter: one of ours, a TorchScript, an ONNX session. What it makes is held against what
its description says, and brought to [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.export.description import Description
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream

SLACK = 1e-3  # of the range's width: what rounding may add at its ends
Rows = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Generator:
    """x = network(latent, y), brought to floats in [-1, 1]; points as they are."""

    network: Callable[..., Any]
    prior: Prior
    description: Description

    @property
    def classes(self) -> int | None:
        """How many classes it can be asked for; None where it is asked for none."""
        return self.description.classes

    def latent(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """n latents, [n, dim] per part; the same for the same seed."""
        return self.prior.sample(n, Stream(seed, "latent"))

    def labels(self, n: int, stream: Stream) -> Tensor | None:
        """n classes, int64 [n], each as probable as the other; None where it is asked for none."""
        return None if self.classes is None else stream.integers(self.classes, n)

    @torch.no_grad()
    def __call__(self, latent: Mapping[str, Tensor], y: Tensor | None = None) -> Tensor:
        """[N, *shape], float32.  Raises Mistake where the network makes something else than was described."""
        seen = {name: t.view(-1, *self.description.views.get(name, t.shape[1:])) for name, t in latent.items()}
        asked = [] if y is None else [y]
        by_name = self.description.call == "mapping"
        try:
            x = self.network(seen, *asked) if by_name else self.network(*seen.values(), *asked)
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError) as error:
            given = ", ".join(f"{name} {list(part.shape)}" for name, part in seen.items())
            said = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise Mistake(f"the generator does not take these latents ({given}; call: {self.description.call}): "
                          f"{said.strip()[:200]}") from None  # fmt: skip
        return self._brought(x)

    def sampler(self, seed: int, name: str = "evaluation") -> Callable[[int], Rows]:
        """What gives the next n samples of a stream, and the classes that they were asked for: a game's own draws.

        The latents are those that a run of this seed is evaluated on.
        """
        latents = Stream(seed, name)

        def sample(n: int) -> Rows:
            y = self.labels(n, latents.child("labels"))
            return self(self.prior.sample(n, latents), y), y

        return sample

    def _brought(self, x: Any) -> Tensor:
        """x in [-1, 1].  Raises Mistake for what is no tensor of the shape and range that were described."""
        shape, bounds = self.description.shape, self.description.bounds
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != shape:
            made = list(x.shape[1:]) if isinstance(x, Tensor) else type(x).__name__
            raise Mistake(f"the generator makes {made}, and its description says data.shape {list(shape)}")
        x = x.detach().to(torch.float32)
        if bounds is None or not x.isfinite().all():
            return x  # what is not finite is refused where it is measured
        low, high = bounds
        slack, least, most = SLACK * (high - low), float(x.min()), float(x.max())
        if least < low - slack or most > high + slack:
            raise Mistake(f"the generator makes values from {least:.3g} to {most:.3g}, and its description says range "
                          f"{'uint8' if high == 255 else f'[{low:g}, {high:g}]'}")  # fmt: skip
        return x if bounds == (-1.0, 1.0) else (x - low) * (2 / (high - low)) - 1
