"""The identity as an extractor: the values of a sample are its features, for points and other small samples."""

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
    """Samples of `shape` as networks get them, flattened.  Raises Mistake for more than 4,096 numbers per sample.

    `modality` None: inferred from the shape.
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
                f"the extractor identity compares up to {MAX_IDENTITY_FEATURES:,} numbers, but a sample of "
                f"{format_shape(shape)} has {self.dim:,}. Choose your own network, "
                "evaluation.extractor={_target_: mynets.Features} allow_target=[mynets], trained "
                "(images with classes), or null (no scores)."
            )

    def forward(self, x: Tensor) -> Features:
        return Features(self.modality.to_float(x).flatten(1).to(torch.float32))
