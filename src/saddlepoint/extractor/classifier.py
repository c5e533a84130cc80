"""A small classifier as an extractor: its penultimate layer and logits (see `training`).

Of sounds, it classifies the log-mel spectrogram, as an image (see `saddlepoint.modality.mel`).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.extractor.training import Network, network_from_state
from saddlepoint.modality import Audio
from saddlepoint.modality.modality import Modality
from saddlepoint.pixel import to_float
from saddlepoint.run.storage.cache import from_safetensors

WEIGHTS_FOLDER = Path(__file__).parent / "weights"


class Classifier(Extractor):
    """Features [N, dim] and logits [N, classes] of a trained network.

    view   the modality whose `to_image` makes the images that the network takes; None: samples are images
    """

    def __init__(
        self, name: str, sha256: str, shape: tuple[int, ...], network: Network, view: Modality | None = None
    ) -> None:
        super().__init__()
        self.name, self.sha256, self.shape, self.network, self.view = name, sha256, shape, network, view
        self.dim, self.classes = network.readout.in_features, network.readout.out_features
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Features:
        return Features(*self.network(to_float(x if self.view is None else self.view.to_image(x))))


class Shipped(Classifier):
    """The classifier `name` of `folder`/classifiers.json; None: the folder of the package.

    Raises Mistake if its weights are missing or have another sha256 than listed.
    """

    def __init__(self, name: str, folder: Path | str | None = None) -> None:
        folder = WEIGHTS_FOLDER if folder is None else Path(folder)
        facts = shipped_classifiers(folder)[name]
        file = folder / f"{name}.safetensors"
        remedy = (
            "Reinstall saddlepoint, or restore the file from the repository (git checkout).\n"
            "Or use a classifier trained on the data: evaluation.extractor=trained."
        )
        if not file.is_file():
            raise Mistake(f"the weights of the classifier {name} are missing: {file}. {remedy}")
        content = file.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != facts["sha256"]:
            raise Mistake(f"{file} has sha256 {sha256}, but {facts['sha256']} is expected. {remedy}")
        shape, wide = tuple(facts["shape"]), facts["recipe"].get("wide", 1)
        view = Audio(facts["rate"], facts["bits"]) if "rate" in facts else None
        image_shape = shape if view is None else view.image_shape(shape)
        assert image_shape is not None
        network = network_from_state(image_shape, facts["classes"], facts["dim"], wide, from_safetensors(content))
        super().__init__(name, sha256, shape, network, view)
        self.accuracy = facts["test_accuracy"]


def shipped_classifiers(folder: Path = WEIGHTS_FOLDER) -> dict[str, dict[str, Any]]:
    """Return the entry of each classifier in `folder`/classifiers.json."""
    path = folder / "classifiers.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(
            f"{path} cannot be read ({error}). Reinstall saddlepoint, or restore the file (git checkout)."
        ) from None
