"""The extractor of coloured digits: a classifier of grey digits, applied to the red and to the green channel.

    features [N, 2 dim]   those of the two channels, concatenated: which of them has the digit is the colour
    logits [N, classes]   those of the brightest channel at each pixel: the digit, whatever its colour

On (g, 0, 0) and (0, g, 0) the logits are those of the grey image g, so its accuracy is that of the classifier.
"""

import hashlib

from torch import Tensor

from saddlepoint.extractor.classifier import Classifier
from saddlepoint.extractor.extractor import Extractor, Features


class Coloured(Extractor):
    """A classifier of grey images applied per colour; name and sha256 derive from it."""

    def __init__(self, digit: Classifier) -> None:
        super().__init__()
        assert digit.shape is not None
        self.digit = digit
        self.name, self.shape = f"coloured-{digit.name}", (3, *digit.shape[1:])
        self.sha256 = hashlib.sha256(f"coloured {digit.sha256}".encode()).hexdigest()
        self.dim, self.classes, self.accuracy = 2 * digit.dim, digit.classes, digit.accuracy

    def forward(self, x: Tensor) -> Features:
        n, side = len(x), x.shape[2:]
        features = self.digit(x[:, :2].reshape(2 * n, 1, *side)).features
        return Features(features.reshape(n, self.dim), self.digit(x.amax(1, keepdim=True)).logits)
