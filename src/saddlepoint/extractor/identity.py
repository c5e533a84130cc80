"""Samples as their own features: of points and other small samples, whose values themselves are compared."""

import hashlib
from math import prod

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Extractor, Features, format_shape
from saddlepoint.extractor.user_network import sha256_with_modality
from saddlepoint.modality import Modality, default_modality
from saddlepoint.modality.modality import MAX_IDENTITY_FEATURES


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
        self.modality = modality or default_modality(shape)
        self.sha256 = sha256_with_modality(Identity.sha256, self.modality)
        if self.dim > MAX_IDENTITY_FEATURES:
            raise Mistake(
                f"the extractor identity compares up to {MAX_IDENTITY_FEATURES:,} numbers, and a sample of {format_shape(shape)} has "
                f"{self.dim:,}. Choose a network of yours, evaluation.extractor={{_target_: mynets.Features}} "
                "allow_target=[mynets], trained (images with classes), or null (no scores)."
            )

    def forward(self, x: Tensor) -> Features:
        return Features(self.modality.to_float(x).flatten(1).to(torch.float32))
