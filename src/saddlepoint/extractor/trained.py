"""A classifier of the training split of the data: trained once, then read from the cache."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.classifier import Classifier
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Progress
from saddlepoint.extractor.training import Recipe, default_recipe, network_from_state, train_classifier
from saddlepoint.modality import modality_of
from saddlepoint.run.storage.cache import Cache, Log, json_sha256, logger, to_safetensors

UNLABELLED = (
    "the extractor trained learns classes, but this data has none.\n"
    "Choose data.extractor=nearest (shipped, of images), identity (up to 4,096 numbers), inception, or null for no "
    "scores."
)


class Trained(Classifier):
    """A classifier named by the content of the training split and the recipe: classifier-<8 hexadecimal digits>.

    The name keeps its scores apart from those of other classifiers. The sha256 is that of the weights, which another
    machine may round differently.  Raises Mistake if the data have no classes.
    """

    def __init__(
        self,
        data: DataLike,
        seed: int = 0,
        recipe: Recipe | None = None,
        cache: Path | None = None,
        log: Log = logger.warning,
        progress: Progress | None = None,
    ) -> None:
        """`recipe` None: the default for the image size, with `seed`."""
        modality, sample_shape = modality_of(data), tuple(data.shape)
        if (shape := modality.image_shape(sample_shape)) is None:
            raise Mistake(
                f"the extractor trained learns the classes of images, or of sounds with a rate that are longer than a "
                f"window of their spectrogram, but these data are {modality.name} of shape {list(sample_shape)}.\n"
                "Choose data.extractor=identity (up to 4,096 numbers), your own network by {_target_: ...}, or null "
                "for no scores."
            )
        if data.classes is None:
            raise Mistake(UNLABELLED)
        classes = data.classes
        recipe = recipe or default_recipe(shape, seed)
        train = data.split("train")
        inputs = {"data": train.sha256, "shape": list(shape), "classes": classes, "recipe": asdict(recipe)}
        view = None
        if not modality.planar:
            inputs |= {"modality": "audio", "rate": getattr(modality, "rate", None)}
            view = modality
        name = f"classifier-{json_sha256(inputs)[:8]}"

        def train_once() -> dict[str, Tensor]:
            log(f"training {name}, the extractor of this data (once; it is cached)")
            generator = torch.Generator().manual_seed(recipe.seed)
            x, y = train[torch.randperm(len(train), generator=generator)[: recipe.limit]]
            if y is None:
                raise Mistake(UNLABELLED)
            split = data.split("validation")
            held_out, held_out_y = split[torch.arange(min(len(split), 10_000))]
            validation = None if held_out_y is None else (modality.to_image(held_out), held_out_y)
            result = train_classifier(modality.to_image(x), y, classes, recipe, validation, progress)
            if result.accuracy is not None:
                log(f"{name} has accuracy {result.accuracy:.1%} on the validation {modality.plural}")
            return result.state

        state = Cache(cache, log).get_or_make_tensors("classifier", inputs, train_once)
        sha256 = hashlib.sha256(to_safetensors(state, inputs)).hexdigest()
        network = network_from_state(shape, classes, recipe.dim, recipe.wide, state)
        super().__init__(name, sha256, modality.measured_shape(sample_shape), network, view)
