"""A single point, repeated: the data of the Dirac-GAN.  Mescheder et al. 2018 (arXiv:1801.04406), definition 2.1."""

from collections.abc import Iterable

import torch

from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake


class Point(Data):
    """x float32 [number, D], every row the same, in every split; no classes."""

    name = "point"

    def __init__(
        self,
        point: Iterable[float] = (0.0,),
        number: int = 1000,
        shape: Iterable[int] = (1,),
        classes: int | None = None,
        extractor: str | None = "identity",
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(shape, classes, extractor, batch, seed)
        self.point, self.number = tuple(float(value) for value in point), number
        if not self.point or number < 1:
            raise Mistake(
                "data.point needs at least one coordinate, as in data.point=[0.0], and data.number must be at least 1."
            )

    def splits(self) -> dict[str, Split]:
        x = torch.tensor(self.point).repeat(self.number, 1)
        return {name: Split(name, x) for name in ("train", "validation", "test")}
