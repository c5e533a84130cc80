"""Fixtures for tests of measuring: small stand-ins for what data/ gives."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor


class Part:
    def __init__(self, name: str, x: Tensor, y: Tensor | None) -> None:
        self.name, self.x, self.y = name, x, y
        self.sha256 = hashlib.sha256(x.numpy().tobytes()).hexdigest()
        self.passes = 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.x[index], None if self.y is None else self.y[index]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        self.passes += 1
        torch.rand(1)  # as a DataLoader does when its iterator is made
        for index in torch.arange(len(self)).split(size):
            yield self[index]


class Whole:
    def __init__(self, classes: int | None, **parts: Part) -> None:
        self.classes, self.parts = classes, parts
        self.shape = tuple(parts["train"].x.shape[1:])

    def split(self, name: str) -> Part:
        return self.parts[name]

    def describe(self) -> dict:
        return {"sizes": {name: len(part) for name, part in self.parts.items()}}


@pytest.fixture
def points() -> Callable[..., Whole]:
    """300 training points of N(0, I), or of N(shift, I), and 40 + 40 held out."""

    def made(shift: float = 0.0, dim: int = 3, sizes: tuple[int, int, int] = (300, 40, 40)) -> Whole:
        draws = torch.Generator().manual_seed(0)
        names = ("train", "validation", "test")
        drawn = {name: torch.randn(n, dim, generator=draws) + shift for name, n in zip(names, sizes, strict=True)}
        return Whole(None, **{name: Part(name, x, None) for name, x in drawn.items()})

    return made


@pytest.fixture
def stripes() -> Whole:
    """Noisy 6x6 images of two classes, one dark and one bright: 120 for training, 30 + 30 held out."""
    draws = torch.Generator().manual_seed(0)
    parts = {}
    for name, n in (("train", 120), ("validation", 30), ("test", 30)):
        y = torch.arange(n) % 2
        x = (60 + 120 * y).view(-1, 1, 1, 1) + torch.randint(-30, 30, (n, 1, 6, 6), generator=draws)
        parts[name] = Part(name, x.to(torch.uint8), y)
    return Whole(2, **parts)


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights: torch-fidelity's network as it is before it loads any."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return None

    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "empty.pth")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Untrained("untrained", ["2048"], feature_extractor_weights_path=str(folder / "empty.pth"))
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"
