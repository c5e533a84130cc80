"""The shipped classifier of the nearest size, behind a resizer: for images that no extractor was trained on."""

from math import log2, prod

from saddlepoint.error import Mistake
from saddlepoint.extractor.classifier import Shipped, shipped_classifiers
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import format_shape, is_8_bit_image
from saddlepoint.extractor.resizer import ResizingExtractor
from saddlepoint.modality import modality_of
from saddlepoint.modality.modality import MAX_IDENTITY_FEATURES
from saddlepoint.run.storage.cache import Log, logger

INCEPTION = "evaluation.extractor=inception (95 MB to download; on a CPU some images a second)"


class NoShippedExtractor(Mistake):
    """Nothing that is shipped takes samples of this shape."""


class Nearest(ResizingExtractor):
    """Under its own name.  Raises Unmeasured where none has as many channels as the data."""

    def __init__(
        self, data: DataLike, second: bool = False, resizer: str = "bicubic-antialias", log: Log = logger.warning
    ) -> None:
        """`second`: the one of another seed beside it."""
        shape = tuple(data.shape)
        if (found := nearest_classifier(shape) if modality_of(data).planar else None) is None:
            raise NoShippedExtractor(no_extractor_message(data))
        classifier = Shipped(f"{found}-b" if second else found)
        assert classifier.shape is not None
        size = classifier.shape[1], classifier.shape[2]
        super().__init__(classifier, size, resizer)
        alike = shape[1:] == size
        if alike:
            self.resizer, self.accuracy = "none", classifier.accuracy
        if not second:
            own = "in their own size" if alike else f"brought to {format_shape(size)} by {resizer}"
            log(f"measured by {found}, the shipped extractor of the nearest size, images {own}; or {INCEPTION}")


def nearest_classifier(shape: tuple[int, ...]) -> str | None:
    """The shipped classifier of images [C, H, W] with as many channels and the nearest size, by ratio; None: none."""
    sizes = {name: facts["shape"] for name, facts in shipped_classifiers().items() if not name.endswith("-b")}
    alike = {name: size for name, size in sizes.items() if size[0] == shape[0]}
    return min(alike, key=lambda name: abs(log2(prod(alike[name]) / prod(shape))), default=None)


def no_extractor_message(data: DataLike) -> str:
    """What can be done about data whose samples no shipped classifier measures, and what it costs."""
    modality, shape = modality_of(data), tuple(data.shape)
    plain = (
        ", or evaluation.extractor=identity, which compares the values themselves"
        if prod(shape) <= MAX_IDENTITY_FEATURES
        else ""
    )
    learnt = (
        ", or classes (folders, labels), of which evaluation.extractor=trained learns for some minutes"
        if modality.planar else ""
    )  # fmt: skip
    return (
        f"no shipped extractor takes samples of shape {format_shape(shape)}. Give a network of yours, evaluation.extractor="
        f"{{_target_: mynets.Features}} allow_target=[mynets]{learnt}{plain}"
        f"{f', or {INCEPTION}' if is_8_bit_image(shape, modality) else ''}"
    )
