"""Mixtures of Gaussians in the plane with equal variance: the rings and grids of the papers on mode collapse.

    ring-P   8 modes at angles 2 pi k / 8 of the unit circle, sigma 0.01       PacGAN, Lin et al. 2018 (arXiv:1712.04086), code
    ring-U   7 modes at angles 2 pi k / 7 of the unit circle, sigma 0.01       Unrolled GAN, Metz et al. 2017 (arXiv:1611.02163), code:
             linspace(0, 2 pi, 8) contains the angle 0 twice, so mode 0 has weight 2/8 and the others 1/8
    ring-W   8 modes at radius 2, sigma 0.02, all divided by 1.414             WGAN-GP, Gulrajani et al. 2017 (arXiv:1704.00028), code
    grid-P   25 modes at {-4, -2, 0, 2, 4}^2, sigma 0.05                       PacGAN, code
    grid-W   the same, all divided by 2.828                                    WGAN-GP, code

These papers draw new points in each iteration.  Here the training points are drawn once, and validation and test have
10,000 points each.  `draw` is the seed of the points; they do not depend on the run's seed.
"""  # noqa: E501 (a table)

from collections.abc import Iterable
from difflib import get_close_matches
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.stream import Stream

HELD_OUT = 10_000  # points of validation, and of test


class Mixture(NamedTuple):
    """A mixture of Gaussians with equal variance."""

    modes: Tensor  # the means, [M, 2]
    slots: tuple[int, ...]  # indices of modes; one of the slots is drawn uniformly
    sigma: float  # the standard deviation of each mode


def ring_mixture(m: int, radius: float, sigma: float, twice: tuple[int, ...] = ()) -> Mixture:
    """m modes at equal angles on a circle, the first at angle 0; the modes in `twice` have two slots."""
    angles = torch.arange(m, dtype=torch.float64) * (2 * pi / m)
    modes = radius * torch.stack([angles.cos(), angles.sin()], 1)
    return Mixture(modes.to(torch.float32), (*range(m), *twice), sigma)


def grid_mixture(scale: float, sigma: float) -> Mixture:
    """25 modes at {-4, -2, 0, 2, 4}^2 / scale; the first coordinate varies slowest."""
    sides = torch.arange(-4, 5, 2, dtype=torch.float64) / scale
    return Mixture(torch.cartesian_prod(sides, sides).to(torch.float32), tuple(range(25)), sigma)


MIXTURES = {
    "ring-P": ring_mixture(8, 1, 0.01),
    "ring-U": ring_mixture(7, 1, 0.01, twice=(0,)),
    "ring-W": ring_mixture(8, 2 / 1.414, 0.02 / 1.414),
    "grid-P": grid_mixture(1, 0.05),
    "grid-W": grid_mixture(2.828, 0.05 / 2.828),
}


class Gaussians(Data):
    """Points, x float32 [n, 2]; y is the mode of each point.  classes None: the number of modes."""

    name = "gaussians"

    def __init__(
        self,
        kind: str = "ring-P",
        number: int = 100_000,
        draw: int = 0,
        shape: Iterable[int] = (2,),
        classes: int | None = None,
        extractor: str | None = "identity",
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        if kind not in MIXTURES:
            close = get_close_matches(kind, MIXTURES, cutoff=0.4) or MIXTURES
            raise Mistake(f"data.kind={kind}: no such mixture. Closest: {', '.join(close)}.")
        if number < 1:
            raise Mistake(f"data.number={number}: at least one training point is needed.")
        self.kind, self.number, self.draw = kind, number, draw
        self.modes, self.slots, self.sigma = MIXTURES[kind]  # modes [M, 2]
        super().__init__(shape, len(self.modes) if classes is None else classes, extractor, batch, seed)

    @property
    def weights(self) -> Tensor:
        """The probability of each mode, [M]."""
        return torch.bincount(torch.tensor(self.slots)) / len(self.slots)

    def splits(self) -> dict[str, Split]:
        sizes = {"train": self.number, "validation": HELD_OUT, "test": HELD_OUT}
        return {name: self._draw_split(name, n) for name, n in sizes.items()}

    def _draw_split(self, name: str, n: int) -> Split:
        stream = Stream(self.draw, f"gaussians/{self.kind}/{name}")
        y = torch.tensor(self.slots)[stream.integers(len(self.slots), n)]
        return Split(name, self.modes[y] + self.sigma * stream.normal(n, 2), y, len(self.modes))
