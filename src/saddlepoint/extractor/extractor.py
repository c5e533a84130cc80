"""Extractors: what turns samples into the features, and the logits, that scores are computed from."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from math import log2, prod
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.extractor import inception
from saddlepoint.extractor.classifier import Network, Progress, Recipe, fit, recipe_for
from saddlepoint.extractor.reals import Data
from saddlepoint.extractor.resizer import known, resized
from saddlepoint.modality import Modality, implied, of
from saddlepoint.modality.modality import IDENTITY
from saddlepoint.pixel import to_float
from saddlepoint.run.storage.cache import Cache, Say, digest, log, tensor_file, tensors_of

WEIGHTS = Path(__file__).parent / "weights"
INCEPTION = "evaluation.extractor=inception (95 MB to download; on a CPU some images a second)"
NEAREST = ("nearest", "nearest-b")
RESIZER = "bicubic-antialias"  # to the nearest's size, where none is chosen
UNLABELLED = (
    "the extractor trained learns the classes of images, and this data has none.\n"
    "Choose data.extractor=nearest (one that is shipped), identity (up to 4,096 numbers), inception, or null for no "
    "scores."
)


class Features(NamedTuple):
    """What an extractor says of N samples, and the samples themselves."""

    features: Tensor  # [N, dim], float32
    logits: Tensor | None = None  # [N, classes], float32; None where it is no classifier
    x: Tensor | None = None  # as stored, [N, ...] (see `saddlepoint.modality`); an extractor leaves it out
    y: Tensor | None = None  # int64 [N]: reals' classes, or those that fakes were asked for; None where there are none

    def at(self, index: Tensor) -> Features:
        """The samples at `index`, int64 [n]."""
        return Features(*(None if part is None else part[index.to(part.device)] for part in self))  # pyright: ignore[reportArgumentType]

    def to(self, device: torch.device | str) -> Features:
        """The same on `device`; the samples stay where they are stored."""
        features, logits, x, y = self
        return Features(features.to(device), None if logits is None else logits.to(device), x, y)

    @classmethod
    def joined(cls, parts: Iterable[Features]) -> Features:
        """All of `parts`, in order."""
        columns = zip(*parts, strict=True)
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))  # pyright: ignore[reportArgumentType]


class Extractor(nn.Module):
    """Features of stored samples [N, ...]: uint8 or uint16 images, points, audio, tokens (see `saddlepoint.modality`).

    It is always in evaluation mode and never learns.

    Keep it out of a LightningModule: there it would enter checkpoints, averages and the ranks' reduction.
    """

    name: str  # part of a score's name
    sha256: str  # of its weights
    dim: int
    classes: int | None  # None where it has no logits
    resizer: str = "none"
    shape: tuple[int, ...] | None = None  # of one sample; None where images of any size will do
    channels: tuple[int, ...] = (1, 3)  # that it takes, where `shape` is None
    bits: tuple[int, ...] = (8, 16)  # of images, that it takes
    modality: Any = None  # the Modality of the data that it was built for
    accuracy: float | None = None  # on its data's test split, in [0, 1], where it is known

    def forward(self, x: Tensor) -> Features:
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, whatever is asked: dropout would give a set a distance from itself."""
        return super().train(False)


class Identity(Extractor):
    """Samples of `shape` as they are: as networks see them, flattened, 4,096 numbers at most.  Raises Mistake for more.

    `modality` None: the one that the shape implies.
    """

    name = "identity"
    sha256 = hashlib.sha256(b"identity").hexdigest()
    classes = None

    def __init__(self, *shape: int, modality: Modality | None = None) -> None:
        super().__init__()
        self.dim, self.shape = prod(shape), shape
        self.modality = modality or implied(shape)
        self.sha256 = _seen_by(Identity.sha256, self.modality)
        if self.dim > IDENTITY:
            raise Mistake(
                f"the extractor identity compares up to {IDENTITY:,} numbers, and a sample of {times(shape)} has "
                f"{self.dim:,}. Choose a network of yours, evaluation.extractor={{_target_: mynets.Features}} "
                "allow_target=[mynets], trained (images with classes), or null (no scores)."
            )

    def forward(self, x: Tensor) -> Features:
        return Features(self.modality.inside(x).flatten(1).to(torch.float32))


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
        remedy = (
            "Install saddlepoint again, or take the file from its repository (git checkout).\n"
            "Or measure with a classifier of the data's own: evaluation.extractor=trained."
        )
        if not file.is_file():
            raise Mistake(f"the weights of the classifier {name} are missing: {file}. {remedy}")
        content = file.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != facts["sha256"]:
            raise Mistake(f"{file} has sha256 {found}, and {facts['sha256']} is expected. {remedy}")
        shape = tuple(facts["shape"])
        wide = facts["recipe"].get("wide", 1)
        classifier = cls(name, found, shape, _network(shape, facts["classes"], facts["dim"], wide, tensors_of(content)))
        classifier.accuracy = facts["test_accuracy"]
        return classifier

    @classmethod
    def for_data(
        cls,
        data: Data,
        cache: Path | None,
        recipe: Recipe | None = None,
        say: Say = log.warning,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> Classifier:
        """A classifier of the data's own training split: trained once, then read from the cache.

        It is named by that split's content and the recipe, classifier-<8 hexadecimal digits>, so that its scores stand
        under names of their own; its sha256 is that of its weights, which another machine may round differently.
        """
        if not of(data).planar:
            raise Mistake(
                f"the extractor trained learns the classes of images, and these data are {of(data).name}.\n"
                "Choose data.extractor=identity (up to 4,096 numbers), a network of yours by {_target_: ...}, or null "
                "for no scores."
            )
        if data.classes is None:
            raise Mistake(UNLABELLED)
        shape, classes = (data.shape[0], data.shape[1], data.shape[2]), data.classes
        recipe = recipe or recipe_for(shape, seed)
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
    bits = (8,)

    def __init__(self, weights: Path | str | None = None, cache: Path | None = None, say: Say = log.warning) -> None:
        super().__init__()
        state, self.sha256 = inception.weights(weights, cache, say)
        self.network = inception.network(state)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Features:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)  # grey: three equal channels
        return Features(*self.network(x))


class Module(Extractor):
    """Any network of the user's: features [N, d], or these and logits [N, K], of samples as networks see them.

    It may return a tensor, a pair, or something with `.features` and `.logits`.  Its attribute `shape` (C, H, W) says
    what it takes; without one it takes samples of `shape`.  It is called in evaluation mode and has nothing to learn;
    images become floats in [-1, 1] before it, so any other scale (ImageNet's) is its own business.  `modality` None:
    the one that the shape implies.  Raises Mistake where two samples of noise do not go through it, or not alike.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], modality: Modality | None = None) -> None:
        super().__init__()
        plain = re.sub(r"[^a-z0-9]+", "-", type(network).__name__.lower()).strip("-") or "module"
        self.name = f"{plain}-own" if plain in choices() else plain
        self.network = network.requires_grad_(False).eval()
        own = getattr(network, "shape", None)
        self.shape = tuple(own) if isinstance(own, list | tuple) else shape
        self.modality = modality or implied(self.shape)
        self.sha256 = _seen_by(_identity(network), self.modality)
        found = self._tried(self.shape)
        self.dim = found.features.shape[1]
        self.classes = None if found.logits is None else found.logits.shape[1]

    def forward(self, x: Tensor) -> Features:
        self.network.eval()  # somebody else may hold it, and train it
        found = self.network(self.modality.inside(x))
        if hasattr(found, "features"):
            found = found.features, getattr(found, "logits", None)
        features, logits, *rest = (*found, None) if isinstance(found, tuple) else (found, None)
        if rest not in ([], [None]) or not _rows(features, x) or not (logits is None or _rows(logits, x)):
            what = "neither features [N, d] nor a pair, features [N, d] and logits [N, K]"
            raise Mistake(f"the extractor {self.name} gives {what}, of {len(x)} samples of shape {times(x.shape[1:])}.")
        return Features(*(None if part is None else part.to(torch.float32) for part in (features, logits)))  # pyright: ignore[reportArgumentType]

    def _tried(self, shape: tuple[int, ...]) -> Features:
        """What it says of two samples of noise."""
        draws = torch.Generator().manual_seed(0)
        x = self.modality.stored(torch.randn(2, *shape, generator=draws))
        x = x.to(next(chain(self.network.parameters(), self.network.buffers()), x).device)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            try:
                found, again, alone = self(x), self(x), self(x[:1])
            except Mistake:
                raise
            except Exception as error:  # whatever somebody's code may raise
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                scale = ", bytes as floats in [-1, 1]" if self.modality.planar else ""
                what = f"samples of shape {times(shape)}{scale}"
                raise Mistake(f"the extractor {self.name} does not take {what}: {reason}") from error
        for part in found[:2]:
            if part is not None and not bool(part.isfinite().all()):
                raise Mistake(f"the extractor {self.name} gives values that are not finite, of samples of noise.")
        if not torch.equal(found.features, again.features):
            raise Mistake(f"the extractor {self.name} gives other features each time: it draws numbers in forward.")
        if not torch.allclose(
            found.features[:1], alone.features, rtol=1e-3, atol=1e-3 * float(alone.features.abs().mean())
        ):
            raise Mistake(f"the extractor {self.name} gives a sample other features when others stand beside it.")
        return found


class Resized(Extractor):
    """Another extractor, for images of any size: they are brought to `size` (height, width) before it sees them."""

    def __init__(self, inner: Extractor, size: tuple[int, int], resizer: str) -> None:
        super().__init__()
        self.inner, self.size, self.by = inner, size, known(resizer)
        self.name, self.sha256, self.dim, self.classes = inner.name, inner.sha256, inner.dim, inner.classes
        self.resizer = f"{resizer}-{size[0]}" if size[0] == size[1] else f"{resizer}-{times(size)}"
        self.channels = inner.channels if inner.shape is None else inner.shape[:1]
        self.bits = inner.bits

    def forward(self, x: Tensor) -> Features:
        return self.inner(resized(x, self.size, self.by))


def shipped(folder: Path = WEIGHTS) -> dict[str, dict[str, Any]]:
    """What is known of each classifier that comes with the package."""
    listed = folder / "classifiers.json"
    try:
        return json.loads(listed.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{listed} cannot be read ({error}). Install saddlepoint again, or git checkout it.") from None


def choices() -> list[str]:
    """The names that `build` knows."""
    there = list(shipped())
    stacked = [f"stacked-{name}" for name in ("mnist", "mnist-b") if name in there]
    return [*there, *stacked, "identity", "inception", "trained", "trained-b", *NEAREST]


def nearest(shape: tuple[int, ...]) -> str | None:
    """The shipped classifier of images [C, H, W] with as many channels and the nearest size, by ratio; None: none."""
    sizes = {name: facts["shape"] for name, facts in shipped().items() if not name.endswith("-b")}
    alike = {name: size for name, size in sizes.items() if size[0] == shape[0]}
    return min(alike, key=lambda name: abs(log2(prod(alike[name]) / prod(shape))), default=None)


def unmeasured(data: Data) -> str:
    """What can be done about data whose samples no shipped classifier measures, and what it costs."""
    modality, shape = of(data), tuple(data.shape)
    plain = (
        ", or evaluation.extractor=identity, which compares the values themselves" if prod(shape) <= IDENTITY else ""
    )
    learnt = (
        ", or classes (folders, labels), of which evaluation.extractor=trained learns for some minutes"
        if modality.planar else ""
    )  # fmt: skip
    return (
        f"no shipped extractor takes samples of shape {times(shape)}. Give a network of yours, evaluation.extractor="
        f"{{_target_: mynets.Features}} allow_target=[mynets]{learnt}{plain}"
        f"{f', or {INCEPTION}' if _for_inception(shape, modality) else ''}"
    )


def second(name: str) -> str | None:
    """The ruler beside `name`, which differs by the seed of its training; None where there is none.

    An order of models that one ruler alone supports is not a finding.
    """
    beside = name.removesuffix("-b") if name.endswith("-b") else f"{name}-b"
    return beside if beside in choices() else None


def build(
    name: str | nn.Module | None,
    data: Data,
    cache: Path | None = None,
    device: torch.device | str = "cpu",
    weights: Path | str | None = None,
    say: Say = log.warning,
    progress: Progress | None = None,
    resizer: str | None = None,
) -> Extractor | None:
    """The extractor `name`, on `device`, for samples of `data`; None for None; raises Mistake where it does not fit.

    In the place of a name a network of the user's may stand (see `Module`).  `weights` is a file of Inception's; the
    other extractors take none.  `resizer` None: images have the extractor's size, or it resizes them in its own way.
    `nearest` is the shipped classifier of the nearest size, behind a resizer; None where none has as many channels.
    """
    if isinstance(name, str) and name in NEAREST:
        found, beside = nearest(tuple(data.shape)) if of(data).planar else None, name.removeprefix("nearest")
        name, resizer = found and f"{found}{beside}", resizer or RESIZER
        if found and not beside:
            size = tuple(shipped()[found]["shape"][1:])
            own = "in their own size" if tuple(data.shape[1:]) == size else f"brought to {times(size)} by {resizer}"
            say(f"measured by {found}, the shipped extractor of the nearest size, images {own}; or {INCEPTION}")
    if name is None:
        return None
    if weights is not None and name != "inception":
        called = name if isinstance(name, str) else type(name).__name__
        raise Mistake(
            f"only the extractor inception takes weights from a file, and this is {called}: leave weights out."
        )
    if resizer is not None:
        known(resizer)
        if not of(data).planar:
            raise Mistake(
                f"evaluation.resizer={resizer} is for images, and these data are {of(data).plural}: say null."
            )
    extractor = _made(name, data, cache, weights, say, progress)
    if resizer is not None:
        extractor = _resizing(extractor, tuple(data.shape), resizer)
    suit(extractor, tuple(data.shape), of(data))
    extractor.modality = of(data)
    return extractor.to(device)


def _made(
    name: str | nn.Module,
    data: Data,
    cache: Path | None,
    weights: Path | str | None,
    say: Say,
    progress: Progress | None,
) -> Extractor:
    if isinstance(name, Extractor):
        return name.requires_grad_(False).eval()
    if isinstance(name, nn.Module):
        return Module(name, tuple(data.shape), of(data))
    if not isinstance(name, str):
        raise Mistake(f"an extractor is a name or a torch.nn.Module, and {type(name).__name__} is neither.")
    if name in shipped():
        return Classifier.shipped(name)
    if name == "identity":
        return Identity(*data.shape, modality=of(data))
    if name == "inception":
        suit(Inception, tuple(data.shape), of(data))  # before 95 MB are fetched
        return Inception(weights, cache, say)
    if name in ("trained", "trained-b"):
        return Classifier.for_data(data, cache, say=say, progress=progress, seed=int(name.endswith("-b")))
    if name.startswith("stacked-") and name in choices():
        from saddlepoint.extractor.stacked import Stacked

        return Stacked(Classifier.shipped(name.removeprefix("stacked-")))
    close = difflib.get_close_matches(name, choices(), 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise Mistake(
        f"there is no extractor {name}. {hint}Choose one of {', '.join(choices())}, a network of your own by "
        "{_target_: ...}, or null for no scores."
    )


def _resizing(extractor: Extractor, shape: tuple[int, ...], resizer: str) -> Extractor:
    """`extractor` behind a resizer; itself where images of `shape` need none.  Inception's own gives way."""
    if isinstance(extractor, Inception):
        return Resized(extractor, (inception.SIDE, inception.SIDE), resizer)
    if extractor.shape is None or extractor.shape == shape:
        return extractor
    return Resized(extractor, (extractor.shape[1], extractor.shape[2]), resizer)


def suit(extractor: Extractor | type[Extractor], shape: tuple[int, ...], modality: Modality | None = None) -> None:
    """Raises Mistake where `extractor` cannot measure samples of `shape`; `modality` None: the one that it implies."""
    modality = modality or implied(shape)
    bits = getattr(modality, "bits", 8) if modality.planar else 8
    if extractor.shape is None:
        fits = modality.planar and shape[0] in extractor.channels
        wanted = " or ".join("grey" if channels == 1 else "RGB" for channels in extractor.channels) + " images"
    else:
        fits, wanted = tuple(shape) == extractor.shape, f"samples of shape {times(extractor.shape)}"
    if fits and bits not in extractor.bits:
        raise Mistake(
            f"the extractor {extractor.name} measures images of 8 bits, and these have {bits}, which it would round.\n"
            "Choose data.extractor=trained (images with classes), identity (up to 4,096 numbers), a network of yours "
            "by {_target_: ...}, or null (no scores)."
        )
    if not fits:
        near = extractor.shape is not None and modality.planar and shape[:1] == extractor.shape[:1]
        size = "a resizer (evaluation.resizer=bicubic-antialias), or " if near else ""
        kind = "" if modality.planar else f" of {modality.name}"
        images = "trained (images with classes), " if modality.planar else ""
        inception_too = "inception, " if _for_inception(shape, modality) else ""
        raise Mistake(
            f"the extractor {extractor.name} measures {wanted}, and this data has shape {times(shape)}{kind}.\n"
            f"Choose {size}data.extractor={images}identity (up to 4,096 numbers), {inception_too}a network of yours by "
            "{_target_: ...}, or null (no scores)."
        )


def _for_inception(shape: tuple[int, ...], modality: Modality) -> bool:
    return modality.planar and shape[0] in Inception.channels and getattr(modality, "bits", 8) in Inception.bits


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


def _identity(network: nn.Module) -> str:
    """sha256 of what makes a network: each part's class, its source and plain settings, and every tensor.

    Tensors alone would let edited code, or another stride, read the old reals' features from the cache.
    """
    whole = hashlib.sha256()
    for path, part in network.named_modules():
        kind = type(part)
        plain = {key: value for key, value in vars(part).items() if key != "training" and _plain(value)}
        whole.update(f"{path} {kind.__module__}.{kind.__qualname__} {sorted(plain.items())}".encode())
        if not kind.__module__.startswith("torch."):
            whole.update(_source(kind).encode())
    tensors = {**dict(network.named_buffers()), **network.state_dict()}  # buffers: also those that are not saved
    for path, value in sorted(tensors.items()):
        if not isinstance(value, Tensor):
            whole.update(f"{path} {value!r}".encode())
            continue
        flat = value.detach().cpu().contiguous().reshape(-1)
        whole.update(f"{path} {value.dtype} {list(value.shape)}".encode() + flat.view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def _seen_by(sha256: str, modality: Modality) -> str:
    """`sha256` of an extractor of what networks see, with the code and settings of a modality of somebody's own."""
    own = [kind for kind in type(modality).__mro__[:-1] if not kind.__module__.startswith("saddlepoint.")]
    if not own:
        return sha256
    settings = {key: value for key, value in vars(modality).items() if _plain(value)}
    code = [f"{kind.__module__}.{kind.__qualname__} {_source(kind)}" for kind in own]
    return hashlib.sha256(f"{sha256} {sorted(settings.items())} {code}".encode()).hexdigest()


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | str) or (isinstance(value, tuple | list) and all(map(_plain, value)))


def _rows(part: Any, x: Tensor) -> bool:
    """Whether `part` is a float tensor [N, d] for x of N samples."""
    return isinstance(part, Tensor) and part.is_floating_point() and part.dim() == 2 and len(part) == len(x)


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed into a console
        return ""
