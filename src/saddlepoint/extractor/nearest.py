"""The shipped classifier of the nearest size with a resizer: for images without a classifier of their own."""

from math import log2, prod

from saddlepoint.error import Mistake
from saddlepoint.extractor.classifier import Shipped, shipped_classifiers
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import format_shape, is_8_bit_image
from saddlepoint.extractor.resizer import ResizingExtractor
from saddlepoint.modality import modality_of
from saddlepoint.modality.modality import MAX_IDENTITY_FEATURES
from saddlepoint.run.storage.cache import Log, logger

INCEPTION = "evaluation.extractor=inception (95 MB to download; a few images per second on a CPU)"


class NoShippedExtractor(Mistake):
    """No shipped extractor accepts samples of this shape."""


class Nearest(ResizingExtractor):
    """The shipped classifier of the nearest size, under its name.

    Raises NoShippedExtractor if no classifier has the channels of the data.
    """

    def __init__(
        self, data: DataLike, second: bool = False, resizer: str = "bicubic-antialias", log: Log = logger.warning
    ) -> None:
        """`second`: use the classifier trained with another seed."""
        shape = tuple(data.shape)
        if (name := nearest_classifier_name(shape) if modality_of(data).planar else None) is None:
            raise NoShippedExtractor(no_extractor_message(data))
        classifier = Shipped(f"{name}-b" if second else name)
        assert classifier.shape is not None
        size = classifier.shape[1], classifier.shape[2]
        super().__init__(classifier, size, resizer)
        same_size = shape[1:] == size
        if same_size:
            self.resizer, self.accuracy = "none", classifier.accuracy
        if not second:
            resizing = "not resized" if same_size else f"resized to {format_shape(size)} by {resizer}"
            log(f"using {name}, the shipped extractor of the nearest size, images {resizing}; alternative: {INCEPTION}")


def nearest_classifier_name(shape: tuple[int, ...]) -> str | None:
    """Return the shipped classifier with the channels and the nearest size (by ratio) of images [C, H, W], or None."""
    sizes = {
        name: facts["shape"]
        for name, facts in shipped_classifiers().items()
        if name[-2:] != "-b" and "rate" not in facts
    }
    candidates = {name: size for name, size in sizes.items() if size[0] == shape[0]}
    return min(candidates, key=lambda name: abs(log2(prod(candidates[name]) / prod(shape))), default=None)


def no_extractor_message(data: DataLike) -> str:
    """Return advice, with costs, for data that no shipped classifier can measure."""
    modality, shape = modality_of(data), tuple(data.shape)
    identity = (
        ", or evaluation.extractor=identity, which compares the values themselves"
        if prod(shape) <= MAX_IDENTITY_FEATURES
        else ""
    )
    trained = (
        ", or classes (folders, labels), which evaluation.extractor=trained learns in a few minutes"
        if modality.planar else ""
    )  # fmt: skip
    return (
        f"no shipped extractor takes samples of shape {format_shape(shape)}. Use your own network, "
        f"evaluation.extractor={{_target_: mynets.Features}} allow_target=[mynets]{trained}{identity}"
        f"{f', or {INCEPTION}' if is_8_bit_image(shape, modality) else ''}"
    )
