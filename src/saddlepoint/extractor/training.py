"""A small classifier, the ruler of data that Inception does not suit: 3x3 convolutions, halved by max-pooling.

Its penultimate layer (after the ReLU) gives the features of a Frechet distance and its logits an Inception score
(BASELINES: "MNIST-FID"; a legitimate substitute where it is named, never comparable with a figure of Inception's).
Batch normalisation stands before each ReLU, also before the last: without it a third of the features can be dead.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Progress
from saddlepoint.pixel import to_float
from saddlepoint.run.storage import atomic
from saddlepoint.run.storage.cache import to_safetensors
from saddlepoint.stream import derive_seed, preserve_random_state


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; with the data it determines the weights, so it is part of their name."""

    dim: int  # width of the penultimate layer
    epochs: int
    shift: int = 2  # pixels: each image is moved by up to so many, each way, each time it is shown
    batch: int = 100
    rate: float = 3e-3  # AdamW's peak learning rate, under a half cosine to 0 after a warm-up of a tenth
    decay: float = 1e-2
    seed: int = 0
    limit: int = 50_000  # images at most, by a fixed permutation: more would cost hours and move the ruler little
    wide: int = 1  # times the channels of a convolution
    flip: bool = False  # each image is mirrored with probability 1/2 each time it is shown


class TrainingResult(NamedTuple):
    """A trained classifier's weights and how often it is right."""

    state: dict[str, Tensor]
    accuracy: float | None  # on the validation images, in [0, 1]; None without any


def default_recipe(shape: tuple[int, ...], seed: int = 0) -> Recipe:
    """The recipe for images of `shape` (C, H, W) that have no shipped classifier."""
    small = min(shape[1:]) <= 16
    # on the digits' validation split a shift of 1 gives 99.3%, none 99.0% (means of five seeds)
    return Recipe(dim=64, epochs=40, shift=1, seed=seed) if small else Recipe(dim=128, epochs=12, seed=seed)


class Network(nn.Module):
    """Features [N, dim] (>= 0) and logits [N, classes] of float images [N, C, H, W] in [-1, 1]."""

    def __init__(self, shape: tuple[int, int, int], classes: int, dim: int, wide: int = 1) -> None:
        super().__init__()
        channels, height, width = shape
        widths = [wide * channels for channels in _widths(min(height, width))]
        layers: list[nn.Module] = []
        for wide in widths:
            layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
            channels = wide
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        inside = channels * (height >> len(widths)) * (width >> len(widths))
        self.neck = nn.Sequential(nn.Linear(inside, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU())
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
    """The classifier that `recipe` gives on uint8 images x [N, C, H, W] and labels y [N].

    It draws from its own generators only, and runs on the CPU on one thread: the same machine gives the same bits.
    """
    draws = torch.Generator().manual_seed(derive_seed(recipe.seed, "classifier"))
    keep = torch.randperm(len(x), generator=draws)[: recipe.limit]
    x, y = x[keep], y[keep]
    batches = -(-len(x) // recipe.batch)
    with _one_thread(), torch.enable_grad():
        with preserve_random_state(seed=derive_seed(recipe.seed, "classifier", "initialisation")):
            network = Network((x.shape[1], x.shape[2], x.shape[3]), classes, recipe.dim, recipe.wide)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        steps = recipe.epochs * batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            # 1.5 / steps: a warm-up of exactly one step would be divided by its length, less one
            optimizer,
            recipe.rate,
            total_steps=steps,
            pct_start=max(0.1, 1.5 / steps),
            cycle_momentum=False,
        )
        for epoch in range(recipe.epochs):
            order = torch.randperm(len(x), generator=draws)
            # parts of equal size: a last batch of one image would have no batch statistics
            for number, part in enumerate(order.tensor_split(batches)):
                shown = random_shift(x[part], recipe.shift, draws)
                _, logits = network(to_float(random_flip(shown, draws) if recipe.flip else shown))
                loss = functional.cross_entropy(logits, y[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                done = epoch * batches + number + 1
                if progress and (not done % 50 or done == steps):
                    progress("training the classifier", done, steps)
        network.eval()
        right = accuracy(network, *validation) if validation is not None else None
    return TrainingResult({name: value.detach().contiguous() for name, value in network.state_dict().items()}, right)


def restore_network(
    shape: tuple[int, int, int], classes: int, dim: int, wide: int, state: dict[str, Tensor]
) -> Network:
    """A network with these weights; torch's global generators are left where they were."""
    with preserve_random_state():
        network = Network(shape, classes, dim, wide)
    network.load_state_dict(state)
    return network


def accuracy(network: nn.Module, x: Tensor, y: Tensor, batch: int = 500) -> float:
    """How often the largest logit is the label's, in [0, 1]."""
    with torch.no_grad():
        right = [
            (network(to_float(part))[1].argmax(1) == label).sum()
            for part, label in zip(x.split(batch), y.split(batch), strict=True)
        ]
    return int(torch.stack(right).sum()) / len(x)


def random_shift(x: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """x [N, C, H, W], each image moved by up to `reach` pixels each way; its border is repeated where it has left."""
    n, _, height, width = x.shape
    move = torch.randint(-reach, reach + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + move[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + move[1]).clamp_(0, width - 1)
    return x[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """x [N, C, H, W], each image left to right with probability 1/2."""
    return torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5, x.flip(3), x)


def _widths(size: int) -> list[int]:
    """Channels of each stage: 64 at the last, 16 at least; so many stages that 3 to 5 pixels are left (8 pixels: 2)."""
    stages = max(2, size // 3).bit_length() - 1 if size >= 12 else 2
    stages = min(stages, max(1, size.bit_length() - 1))
    return [max(16, 64 >> (stages - 1 - stage)) for stage in range(stages)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order: more threads would split them by the machine's number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_and_save(
    name: str, data: DataLike, recipe: Recipe, folder: Path, command: str, progress: Progress | None = None
) -> dict[str, Any]:
    """The entry in `folder`/classifiers.json of a classifier trained on data's split train; its weights go beside it.

    The splits validation and test are only measured on.
    """
    splits = {part: data.split(part) for part in ("train", "validation", "test")}
    (x, y), validation, test = (split[torch.arange(len(split))] for split in splits.values())
    channels, height, width = data.shape
    classes = data.classes or int(y.max()) + 1
    fitted = train_classifier(x, y, classes, recipe, validation, progress)
    network = restore_network((channels, height, width), classes, recipe.dim, recipe.wide, fitted.state)
    about = {
        "shape": list(data.shape),
        "classes": classes,
        "dim": recipe.dim,
        "data": getattr(data, "name", name),
        "split": "train",
        "sizes": {part: len(split) for part, split in splits.items()},
        "data_sha256": splits["train"].sha256,
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "validation_accuracy": round(fitted.accuracy or 0, 4),
        "test_accuracy": round(accuracy(network.eval(), *test), 4),
        "command": command,
        "torch": str(torch.__version__),
    }
    content = to_safetensors(fitted.state, about)
    atomic.write_atomic(folder / f"{name}.safetensors", content)
    listed = folder / "classifiers.json"
    entries = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else {}
    entries[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **about}
    atomic.write_atomic(listed, json.dumps(dict(sorted(entries.items())), indent=2) + "\n")
    return entries[name]
