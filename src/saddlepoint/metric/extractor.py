"""Extractors: what turns samples into the features, and the logits, that scores are computed from."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.metric import inception
from saddlepoint.metric.cache import Cache, Say, digest, log, tensor_file, tensors_of
from saddlepoint.metric.classifier import Network, Progress, Recipe, fit, recipe_for
from saddlepoint.metric.reals import Data
from saddlepoint.pixel import to_float

WEIGHTS = Path(__file__).parent / "weights"
UNLABELLED = (
    "the extractor trained learns the classes of images, and this data has none.\n"
    "Choose data.extractor=inception, or null for no scores."
)


class Features(NamedTuple):
    """What an extractor says of N samples, and the samples themselves."""

    features: Tensor  # [N, dim], float32
    logits: Tensor | None = None  # [N, classes], float32; None where it is no classifier
    x: Tensor | None = None  # as stored: uint8 [N, C, H, W], or float32 points [N, D]; an extractor leaves it out
    y: Tensor | None = None  # int64 [N]: reals' classes, or those that fakes were asked for; None where there are none

    def at(self, index: Tensor) -> Features:
        """The samples at `index`, int64 [n]."""
        return Features(*(None if part is None else part[index.to(part.device)] for part in self))  # pyright: ignore[reportArgumentType]

    @classmethod
    def joined(cls, parts: Iterable[Features]) -> Features:
        """All of `parts`, in order."""
        columns = zip(*parts, strict=True)
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))  # pyright: ignore[reportArgumentType]


class Extractor(nn.Module):
    """Features of uint8 images [N, C, H, W] or float points [N, D].  It is always in evaluation mode and never learns.

    Keep it out of a LightningModule: there it would enter checkpoints, averages and the ranks' reduction.
    """

    name: str  # part of a score's name
    sha256: str  # of its weights
    dim: int
    classes: int | None  # None where it has no logits
    resizer: str = "none"
    shape: tuple[int, ...] | None = None  # of one sample; None where any will do

    def forward(self, x: Tensor) -> Features:
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, whatever is asked: dropout would give a set a distance from itself."""
        return super().train(False)


class Identity(Extractor):
    """Points as they are."""

    name = "identity"
    sha256 = hashlib.sha256(b"identity").hexdigest()
    classes = None

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.shape = dim, (dim,)

    def forward(self, x: Tensor) -> Features:
        return Features(x.to(torch.float32))


class Classifier(Extractor):
    """The penultimate layer and the logits of a small classifier (see `classifier`)."""

    def __init__(self, name: str, sha256: str, shape: tuple[int, int, int], network: Network) -> None:
        super().__init__()
        self.name, self.sha256, self.shape, self.network = name, sha256, shape, network
        self.dim, self.classes = network.readout.in_features, network.readout.out_features
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Features:
        return Features(*self.network(to_float(x)))

    @classmethod
    def shipped(cls, name: str, folder: Path = WEIGHTS) -> Classifier:
        """The classifier `name` of `folder`/classifiers.json; raises Mistake where its file is not the listed one."""
        facts = shipped(folder)[name]
        file = folder / f"{name}.safetensors"
        remedy = "Install saddlepoint again, or take the file from its repository (git checkout)."
        if not file.is_file():
            raise Mistake(f"the weights of the classifier {name} are missing: {file}. {remedy}")
        content = file.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != facts["sha256"]:
            raise Mistake(f"{file} has sha256 {found}, and {facts['sha256']} is expected. {remedy}")
        shape = tuple(facts["shape"])
        wide = facts["recipe"].get("wide", 1)
        return cls(name, found, shape, _network(shape, facts["classes"], facts["dim"], wide, tensors_of(content)))

    @classmethod
    def for_data(
        cls,
        data: Data,
        cache: Path | None,
        recipe: Recipe | None = None,
        say: Say = log.warning,
        progress: Progress | None = None,
    ) -> Classifier:
        """A classifier of the data's own training split: trained once, then read from the cache.

        It is named by that split's content and the recipe, classifier-<8 hexadecimal digits>, so that its scores stand
        under names of their own; its sha256 is that of its weights, which another machine may round differently.
        """
        if data.classes is None or len(data.shape) != 3:
            raise Mistake(UNLABELLED)
        shape, classes = (data.shape[0], data.shape[1], data.shape[2]), data.classes
        recipe = recipe or recipe_for(shape)
        train = data.split("train")
        about = {"data": train.sha256, "shape": list(shape), "classes": classes, "recipe": asdict(recipe)}
        name = f"classifier-{digest(about)[:8]}"

        def trained() -> dict[str, Tensor]:
            say(f"training {name}, which will measure this data (once; it is kept in the cache)")
            draws = torch.Generator().manual_seed(recipe.seed)
            x, y = train[torch.randperm(len(train), generator=draws)[: recipe.limit]]
            if y is None:
                raise Mistake(UNLABELLED)
            fitted = fit(x, y, classes, recipe, _labelled(data.split("validation")), progress)
            if fitted.accuracy is not None:
                say(f"{name} is right on {fitted.accuracy:.1%} of the validation images")
            return fitted.state

        state = Cache(cache, say).tensors("classifier", about, trained)
        sha256 = hashlib.sha256(tensor_file(state, about)).hexdigest()
        return cls(name, sha256, shape, _network(shape, classes, recipe.dim, recipe.wide, state))


class Inception(Extractor):
    """Inception v3 as in torch-fidelity: pool3 features and logits without bias; images resized as TensorFlow 1 did."""

    name = "inception"
    dim, classes = 2048, 1008
    resizer = "tensorflow1-bilinear-299"

    def __init__(self, weights: Path | str | None = None, cache: Path | None = None, say: Say = log.warning) -> None:
        super().__init__()
        state, self.sha256 = inception.weights(weights, cache, say)
        self.network = inception.network(state)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Features:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)  # grey: three equal channels
        return Features(*self.network(x))


def shipped(folder: Path = WEIGHTS) -> dict[str, dict[str, Any]]:
    """What is known of each classifier that comes with the package."""
    return json.loads((folder / "classifiers.json").read_text())


def build(
    name: str | None,
    data: Data,
    cache: Path | None = None,
    device: torch.device | str = "cpu",
    weights: Path | str | None = None,
    say: Say = log.warning,
    progress: Progress | None = None,
) -> Extractor | None:
    """The extractor `name`, on `device`, for samples of `data`; None for None; raises Mistake where it does not fit.

    `weights` is a file of Inception's; the other extractors take none.
    """
    if name is None:
        return None
    if weights is not None and name != "inception":
        raise Mistake(f"only the extractor inception takes weights from a file, and this is {name}: leave weights out.")
    choices = [*shipped(), "identity", "inception", "trained"]
    if name in shipped():
        extractor: Extractor = Classifier.shipped(name)
    elif name == "identity":
        extractor = Identity(data.shape[0])
    elif name == "inception":
        extractor = Inception(weights, cache, say)
    elif name == "trained":
        extractor = Classifier.for_data(data, cache, say=say, progress=progress)
    else:
        close = difflib.get_close_matches(name, choices, 1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise Mistake(f"there is no extractor {name}. {hint}Choose one of {', '.join(choices)}, or null for no scores.")
    suit(extractor, data.shape)
    return extractor.to(device)


def suit(extractor: Extractor, shape: tuple[int, ...]) -> None:
    """Raises Mistake where `extractor` cannot measure samples of `shape`."""
    if extractor.shape is None:
        fits, wanted = len(shape) == 3 and shape[0] in (1, 3), "grey or RGB images"
    else:
        fits, wanted = tuple(shape) == extractor.shape, f"samples of shape {times(extractor.shape)}"
    if not fits:
        raise Mistake(
            f"the extractor {extractor.name} measures {wanted}, and this data has shape {times(shape)}.\n"
            "Choose data.extractor=trained (images with classes), identity (points), inception, or null (no scores)."
        )


def times(shape: Iterable[int]) -> str:
    """1x28x28 for (1, 28, 28)."""
    return "x".join(map(str, shape))


def _network(shape: tuple[int, int, int], classes: int, dim: int, wide: int, state: dict[str, Tensor]) -> Network:
    with torch.random.fork_rng(devices=[]):
        network = Network(shape, classes, dim, wide)
    network.load_state_dict(state)
    return network


def _labelled(split: Any) -> tuple[Tensor, Tensor] | None:
    """The first images of a split, 10,000 at most, with their labels."""
    x, y = split[torch.arange(min(len(split), 10_000))]
    return None if y is None else (x, y)
