"""The extractor of Stacked-MNIST: a classifier of digits applied to each of the three channels.

    features [N, 3 dim]   those of the three channels, concatenated
    logits [N, 1000]      log p_R(a) + log p_G(b) + log p_B(c) at index 100 a + 10 b + c

so that their softmax is the product of the channels' probabilities, and the largest logit is that of the three most
probable digits: the classification of Metz et al. 2017 (Unrolled GAN, arXiv:1611.02163).
"""

import hashlib

from torch import Tensor

from saddlepoint.extractor.classifier import Classifier
from saddlepoint.extractor.extractor import Extractor, Features


class Stacked(Extractor):
    """A classifier of grey images applied per channel; name and sha256 derive from it."""

    def __init__(self, digit: Classifier) -> None:
        super().__init__()
        assert digit.shape is not None
        assert digit.classes is not None
        self.digit = digit
        self.name, self.shape = f"stacked-{digit.name}", (3, *digit.shape[1:])
        self.sha256 = hashlib.sha256(f"stacked {digit.sha256}".encode()).hexdigest()
        self.dim, self.classes = 3 * digit.dim, digit.classes**3
        self.accuracy = None if digit.accuracy is None else digit.accuracy**3  # three independent digits

    def forward(self, x: Tensor) -> Features:
        n, side = len(x), x.shape[2:]
        features, logits, *_ = self.digit(x.reshape(3 * n, 1, *side))
        assert logits is not None
        red, green, blue = logits.log_softmax(1).view(n, 3, -1).unbind(1)
        joint = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
        return Features(features.reshape(n, self.dim), joint.reshape(n, -1))
