"""Samples as their own features: of points and other small samples, whose values themselves are compared."""

import hashlib
from math import prod

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Extractor, Features, times
from saddlepoint.extractor.module import seen_by
from saddlepoint.modality import Modality, implied
from saddlepoint.modality.modality import IDENTITY


class Identity(Extractor):
    """Samples of `shape` as they are: as networks see them, flattened, 4,096 numbers at most.  Raises Mistake for more.

    `modality` None: the one that the shape implies.
    """

    name = "identity"
    sha256 = hashlib.sha256(b"identity").hexdigest()
    classes = None

    def __init__(self, shape: tuple[int, ...], modality: Modality | None = None) -> None:
        super().__init__()
        self.dim, self.shape = prod(shape), shape
        self.modality = modality or implied(shape)
        self.sha256 = seen_by(Identity.sha256, self.modality)
        if self.dim > IDENTITY:
            raise Mistake(
                f"the extractor identity compares up to {IDENTITY:,} numbers, and a sample of {times(shape)} has "
                f"{self.dim:,}. Choose a network of yours, evaluation.extractor={{_target_: mynets.Features}} "
                "allow_target=[mynets], trained (images with classes), or null (no scores)."
            )

    def forward(self, x: Tensor) -> Features:
        return Features(self.modality.inside(x).flatten(1).to(torch.float32))
