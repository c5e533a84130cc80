"""Train a small convolutional classifier, used as feature extractor for data unlike ImageNet.

Its penultimate layer (after the ReLU) gives the features of a Frechet distance, its logits an Inception score. State
the extractor with every score ("MNIST-FID"); it is not comparable with a score by Inception.
Batch normalisation precedes each ReLU, including the last: without it a third of the features can be dead.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Progress
from saddlepoint.modality import modality_of
from saddlepoint.pixel import to_float
from saddlepoint.run.storage import atomic
from saddlepoint.run.storage.cache import to_safetensors
from saddlepoint.stream import derive_seed, preserve_random_state


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a classifier; with the data they determine the weights, whose name contains them."""

    dim: int  # width of the penultimate layer
    epochs: int
    shift: int = 2  # maximum random translation in pixels, each time an image is used
    batch: int = 100
    rate: float = 3e-3  # peak learning rate of AdamW: warm-up over a tenth of the steps, then half a cosine to 0
    decay: float = 1e-2
    seed: int = 0
    limit: int = (
        50_000  # maximum number of images, by a fixed permutation: more would cost hours and change scores little
    )
    wide: int = 1  # multiplies the channels of the convolutions
    flip: bool = False  # mirror an image with probability 1/2 each time it is used


class TrainingResult(NamedTuple):
    """Weights and accuracy of a trained classifier."""

    state: dict[str, Tensor]
    accuracy: float | None  # on the validation images, in [0, 1]; None without validation


def default_recipe(shape: tuple[int, ...], seed: int = 0) -> Recipe:
    """Return the recipe for images of `shape` (C, H, W) without a shipped classifier."""
    small = min(shape[1:]) <= 16
    # accuracy on the validation split of digits: 99.3% with a shift of 1, 99.0% without (means of five seeds)
    return Recipe(dim=64, epochs=40, shift=1, seed=seed) if small else Recipe(dim=128, epochs=12, seed=seed)


class Network(nn.Module):
    """Float images [N, C, H, W] in [-1, 1] -> features [N, dim] (>= 0) and logits [N, classes]."""

    def __init__(self, shape: tuple[int, int, int], classes: int, dim: int, width_multiplier: int = 1) -> None:
        super().__init__()
        channels, height, width = shape
        widths = [width_multiplier * n for n in _stage_channels(min(height, width))]
        layers: list[nn.Module] = []
        for n in widths:
            layers += [nn.Conv2d(channels, n, 3, padding=1, bias=False), nn.BatchNorm2d(n), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
            channels = n
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        flat = channels * (height >> len(widths)) * (width >> len(widths))
        self.neck = nn.Sequential(nn.Linear(flat, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU())
        self.readout = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.neck(self.trunk(x))
        return features, self.readout(features)


def train_classifier(
    x: Tensor,
    y: Tensor,
    classes: int,
    recipe: Recipe,
    validation: tuple[Tensor, Tensor] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train a classifier by `recipe` on uint8 images x [N, C, H, W] and labels y [N].

    Uses its own random generators and one CPU thread, so the result is bit-identical on the same machine.
    """
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "classifier"))
    subset = torch.randperm(len(x), generator=generator)[: recipe.limit]
    x, y = x[subset], y[subset]
    n_batches = -(-len(x) // recipe.batch)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(recipe.epochs):
            order = torch.randperm(len(x), generator=generator)
            # batches of equal size: a last batch of one image would have no batch statistics
            for index in order.tensor_split(n_batches):
                images = random_shift(x[index], recipe.shift, generator)
                yield to_float(random_flip(images, generator) if recipe.flip else images), y[index]

    network = train_on_batches(
        batches(), recipe.epochs * n_batches, (x.shape[1], x.shape[2], x.shape[3]), classes, recipe, progress
    )
    with _one_thread():
        network.eval()
        score = accuracy(network, *validation) if validation is not None else None
    return TrainingResult({name: value.detach().contiguous() for name, value in network.state_dict().items()}, score)


def train_on_batches(
    batches: Iterable[tuple[Tensor, Tensor]],
    updates: int,
    shape: tuple[int, int, int],
    classes: int,
    recipe: Recipe,
    progress: Progress | None = None,
) -> Network:
    """Train a classifier for `updates` updates, each on one of `batches`: float images and labels.

    Of `recipe` the width, learning rate, decay and seed (of the initial weights) are used. One CPU thread, so the
    result is bit-identical on the same machine. Returns the network in training mode.
    """
    with _one_thread(), torch.enable_grad():
        with preserve_random_state(seed=derive_seed(recipe.seed, "classifier", "initialisation")):
            network = Network(shape, classes, recipe.dim, recipe.wide)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            # 1.5 / updates: OneCycleLR divides by the warm-up length less one, which would be 0 for one update
            optimizer,
            recipe.rate,
            total_steps=updates,
            pct_start=max(0.1, 1.5 / updates),
            cycle_momentum=False,
        )
        for done, (x, y) in enumerate(islice(batches, updates), 1):
            loss = functional.cross_entropy(network(x)[1], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if progress and (not done % 50 or done == updates):
                progress("training the classifier", done, updates)
    return network


def network_from_state(
    shape: tuple[int, int, int], classes: int, dim: int, width_multiplier: int, state: dict[str, Tensor]
) -> Network:
    """Return a network with these weights; the state of torch's global generators is restored."""
    with preserve_random_state():
        network = Network(shape, classes, dim, width_multiplier)
    network.load_state_dict(state)
    return network


def accuracy(network: nn.Module, x: Tensor, y: Tensor, batch: int = 500) -> float:
    """Return the fraction of images whose largest logit is that of the label, in [0, 1]."""
    with torch.no_grad():
        correct = [
            (network(to_float(images))[1].argmax(1) == labels).sum()
            for images, labels in zip(x.split(batch), y.split(batch), strict=True)
        ]
    return int(torch.stack(correct).sum()) / len(x)


def random_shift(x: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Translate each image of x [N, C, H, W] by up to `max_shift` pixels in each direction, repeating its border."""
    n, _, height, width = x.shape
    move = torch.randint(-max_shift, max_shift + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + move[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + move[1]).clamp_(0, width - 1)
    return x[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image of x [N, C, H, W] left to right with probability 1/2."""
    return torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5, x.flip(3), x)


def _stage_channels(size: int) -> list[int]:
    """Return the channels per stage: 64 in the last, at least 16. Pooling ends at 3 to 5 pixels (2 for 8)."""
    stages = max(2, size // 3).bit_length() - 1 if size >= 12 else 2
    stages = min(stages, max(1, size.bit_length() - 1))
    return [max(16, 64 >> (stages - 1 - stage)) for stage in range(stages)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: with more, the order of sums would depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_and_save(
    name: str,
    data: DataLike,
    recipe: Recipe,
    folder: Path,
    command: str,
    progress: Progress | None = None,
    column: str | None = None,
) -> dict[str, Any]:
    """Train a classifier on the split train; write its weights and its entry of `folder`/classifiers.json.

    column   an extra column whose integers are the classes; None: those of the data
    The splits validation and test are used for the accuracies only. Returns the entry of classifiers.json.
    """
    splits = {split: data.split(split) for split in ("train", "validation", "test")}
    modality = modality_of(data)
    shape = modality.image_shape(tuple(data.shape))
    assert shape is not None

    def images_and_labels(split: Any) -> tuple[Tensor, Tensor]:
        x, y = split[torch.arange(len(split))]
        return modality.to_image(x), y if column is None else split.extra_columns[column]

    (x, y), validation, test = map(images_and_labels, splits.values())
    classes = int(y.max()) + 1 if column is not None or data.classes is None else data.classes
    result = train_classifier(x, y, classes, recipe, validation, progress)
    network = network_from_state(shape, classes, recipe.dim, recipe.wide, result.state)
    facts = {
        "shape": list(data.shape),
        **({} if modality.planar else {key: modality.describe()[key] for key in ("rate", "bits")}),
        **({} if column is None else {"column": column}),
        "classes": classes,
        "dim": recipe.dim,
        "data": getattr(data, "name", name),
        "split": "train",
        "sizes": {key: len(split) for key, split in splits.items()},
        "data_sha256": splits["train"].sha256,
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "validation_accuracy": round(result.accuracy or 0, 4),
        "test_accuracy": round(accuracy(network.eval(), *test), 4),
        "command": command,
        "torch": str(torch.__version__),
    }
    content = to_safetensors(result.state, facts)
    atomic.write_atomic(folder / f"{name}.safetensors", content)
    path = folder / "classifiers.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    entries[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **facts}
    atomic.write_atomic(path, json.dumps(dict(sorted(entries.items())), indent=2) + "\n")
    return entries[name]
