"""Fixtures for tests of metrics and evaluation: small data sets."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor


class SmallSplit:
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
        torch.rand(1)  # as a DataLoader does when an iterator is created
        for index in torch.arange(len(self)).split(size):
            yield self[index]


class SmallData:
    def __init__(self, classes: int | None, **splits: SmallSplit) -> None:
        self.classes, self.splits = classes, splits
        self.shape = tuple(splits["train"].x.shape[1:])

    def split(self, name: str) -> SmallSplit:
        return self.splits[name]

    def describe(self) -> dict:
        return {"sizes": {name: len(split) for name, split in self.splits.items()}}


@pytest.fixture
def points() -> Callable[..., SmallData]:
    """Builds 300 training points from N(shift, I), and 40 + 40 held-out points."""

    def build(shift: float = 0.0, dim: int = 3, sizes: tuple[int, int, int] = (300, 40, 40)) -> SmallData:
        draws = torch.Generator().manual_seed(0)
        names = ("train", "validation", "test")
        samples = {name: torch.randn(n, dim, generator=draws) + shift for name, n in zip(names, sizes, strict=True)}
        return SmallData(None, **{name: SmallSplit(name, x, None) for name, x in samples.items()})

    return build


@pytest.fixture
def stripes() -> SmallData:
    """Noisy 6x6 images of two classes, one dark and one bright: 120 training and 30 + 30 held-out images."""
    draws = torch.Generator().manual_seed(0)
    splits = {}
    for name, n in (("train", 120), ("validation", 30), ("test", 30)):
        y = torch.arange(n) % 2
        x = (60 + 120 * y).view(-1, 1, 1, 1) + torch.randint(-30, 30, (n, 1, 6, 6), generator=draws)
        splits[name] = SmallSplit(name, x.to(torch.uint8), y)
    return SmallData(2, **splits)


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the random initial weights of torch-fidelity's network."""
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
