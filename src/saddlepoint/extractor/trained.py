"""A classifier of the data's own training split: trained once, then read from the cache."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.classifier import Classifier
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Progress
from saddlepoint.extractor.training import Recipe, default_recipe, restore_network, train_classifier
from saddlepoint.modality import modality_of
from saddlepoint.run.storage.cache import Cache, Log, json_sha256, logger, to_safetensors

UNLABELLED = (
    "the extractor trained learns the classes of images, and this data has none.\n"
    "Choose data.extractor=nearest (one that is shipped), identity (up to 4,096 numbers), inception, or null for no "
    "scores."
)


class Trained(Classifier):
    """A classifier that is named by the content of the training split and the recipe.

    classifier-<8 hexadecimal digits>, so that its scores stand under names of their own; its sha256 is that of its
    weights, which another machine may round differently.  Raises Mistake where the data have no classes.
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
        """`recipe` None: that of the images' size, with `seed`."""
        if not modality_of(data).planar:
            raise Mistake(
                f"the extractor trained learns the classes of images, and these data are {modality_of(data).name}.\n"
                "Choose data.extractor=identity (up to 4,096 numbers), a network of yours by {_target_: ...}, or null "
                "for no scores."
            )
        if data.classes is None:
            raise Mistake(UNLABELLED)
        shape, classes = (data.shape[0], data.shape[1], data.shape[2]), data.classes
        recipe = recipe or default_recipe(shape, seed)
        train = data.split("train")
        about = {"data": train.sha256, "shape": list(shape), "classes": classes, "recipe": asdict(recipe)}
        name = f"classifier-{json_sha256(about)[:8]}"

        def trained() -> dict[str, Tensor]:
            log(f"training {name}, which will measure this data (once; it is kept in the cache)")
            draws = torch.Generator().manual_seed(recipe.seed)
            x, y = train[torch.randperm(len(train), generator=draws)[: recipe.limit]]
            if y is None:
                raise Mistake(UNLABELLED)
            held = data.split("validation")
            validation = held[torch.arange(min(len(held), 10_000))]
            fitted = train_classifier(x, y, classes, recipe, None if validation[1] is None else validation, progress)
            if fitted.accuracy is not None:
                log(f"{name} is right on {fitted.accuracy:.1%} of the validation images")
            return fitted.state

        state = Cache(cache, log).get_tensors("classifier", about, trained)
        sha256 = hashlib.sha256(to_safetensors(state, about)).hexdigest()
        super().__init__(name, sha256, shape, restore_network(shape, classes, recipe.dim, recipe.wide, state))
