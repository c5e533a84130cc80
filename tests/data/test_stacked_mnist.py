import hashlib
import os
from pathlib import Path
from time import perf_counter

import pytest
import torch

from saddlepoint.data import stacked_mnist as module
from saddlepoint.data.mnist import MNIST
from saddlepoint.data.stacked_mnist import StackedMNIST
from saddlepoint.error import Mistake
from saddlepoint.pixel import to_float

REAL = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPLITS = ("train", "validation", "test")


def idx(content):
    """An IDX file of uint8 `content`."""
    header = bytes([0, 0, 8, content.ndim]) + b"".join(n.to_bytes(4, "big") for n in content.shape)
    return header + content.numpy().tobytes()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Stacks of an MNIST of 60 and 10 images: all of image i of a half have brightness i (+ 100 in the test half)."""
    monkeypatch.setattr(module, "HELD_OUT", 300)
    files = {}
    for half, n, first in (("train", 60, 0), ("t10k", 10, 100)):
        brightness = torch.arange(first, first + n, dtype=torch.uint8)
        files[f"{half}-images-idx3-ubyte"] = idx(brightness.view(n, 1, 1).repeat(1, 28, 28))
        files[f"{half}-labels-idx1-ubyte"] = idx((torch.arange(n) * 7 % 10).to(torch.uint8))
    facts = {"counts": {"train": 60, "t10k": 10}, "held_out": 10}
    facts["file_sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)
    kind = type("StackedMNIST", (StackedMNIST,), {"mnist_class": type("MNIST", (MNIST,), facts)})
    return lambda **settings: kind(tmp_path, **{"number": 500, **settings})


def rows(split, size=64):
    batches = list(split.batches(size))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_each_channel_is_a_digit_of_the_split_and_the_class_is_its_three_labels(tiny):
    data = tiny()
    assert data.describe()["sizes"] == {"train": 500, "validation": 300, "test": 300}
    for name, low, high in (("train", 0, 50), ("validation", 50, 60), ("test", 100, 110)):
        x, y = rows(data.split(name))
        assert x.dtype == torch.uint8
        assert x.shape == (len(data.split(name)), 3, 28, 28)
        digits = x[:, :, 0, 0].long()
        assert x.eq(x[:, :, :1, :1]).all()  # whole images, in their own channel
        assert digits.unique().tolist() == list(range(low, high))  # of this split alone, and all of it
        a, b, c = ((digits % 100) * 7 % 10).unbind(1)
        assert y.equal(100 * a + 10 * b + c)
        assert y.dtype == torch.int64


def test_the_channels_are_drawn_independently_and_uniformly(tiny):
    x, _ = rows(tiny(number=20_000).split("train"), 5000)
    digits = x[:, :, 0, 0].long()
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs = (50 * digits[:, first] + digits[:, second]).bincount(minlength=2500)
        statistic = ((pairs - 8) ** 2 / 8).sum().item()  # chi-square with 2,499 degrees of freedom
        assert abs(statistic - 2499) < 5 * (2 * 2499) ** 0.5
    assert not digits[:, 0].equal(digits[:, 1])


def test_stacks_depend_on_draw_but_not_on_the_seed(tiny):
    data = tiny(seed=1)
    assert data.describe() == tiny(seed=2, batch=3).describe()
    other = tiny(draw=1).describe()["sha256"]
    assert len({*data.describe()["sha256"].values(), *other.values()}) == 6
    x, y = data.split("train")[torch.arange(200)]
    fewer = tiny(number=200).split("train")
    assert fewer[torch.arange(200)][0].equal(x)  # a larger number begins with the same stacks
    assert fewer[torch.arange(200)][1].equal(y)


def test_rows_and_batches_agree(tiny):
    split = tiny().split("train")
    x, y = rows(split, 77)
    index = torch.tensor([3, 499, 0, 3])
    for batch_x, batch_y in (split[index], *split.batches_at([index])):
        assert batch_x.equal(x[index])
        assert batch_y.equal(y[index])
    batch = next(split.batches(5))[0]
    batch.zero_()
    assert split[torch.arange(5)][0].equal(x[:5])  # a batch is a copy


def test_the_hash_depends_on_the_digits_and_their_indices(tiny, tmp_path):
    hashes = {name: tiny().split(name).sha256 for name in SPLITS}
    split = tiny().split("train")
    split.digits[0] += 1  # one image of the base
    assert split.sha256 != hashes["train"]
    moved = tiny().split("train")
    moved.digit_indices[[0, 1]] = moved.digit_indices[[1, 0]]
    assert moved.sha256 != hashes["train"]
    assert tiny().split("train").sha256 == hashes["train"]


def test_training_batches_hold_floats_and_classes(tiny):
    data = tiny(batch=500)
    batch = next(data.training_batches())
    x, y = rows(data.split("train"))
    assert batch.x.shape == (500, 3, 28, 28)
    assert batch.y.sort().values.equal(y.sort().values)
    assert batch.x.sum(dim=(1, 2, 3)).sort().values.equal(to_float(x).sum(dim=(1, 2, 3)).sort().values)


def test_missing_files_are_refused_with_mnists_message(tmp_path):
    kind = type(
        "MNIST",
        (MNIST,),
        {"torchvision_class": type("MNIST", (MNIST.torchvision_class,), {"mirrors": ["http://127.0.0.1:9/"]})},
    )
    stacked = type("StackedMNIST", (StackedMNIST,), {"mnist_class": kind})(tmp_path)
    assert len(stacked.missing_files) == 4
    with pytest.raises(Mistake, match=r"mnist: train-images-idx3-ubyte.* missing in"):
        stacked.split("train")


def test_a_bad_number_and_wrong_facts_are_refused(tiny):
    with pytest.raises(Mistake, match=r"data\.number=0"):
        StackedMNIST(number=0)
    with pytest.raises(Mistake, match=r"data\.classes=10"):
        tiny(classes=10).split("train")


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason=f"no MNIST in {REAL}: set SADDLEPOINT_DATA")
def test_the_real_stacks_have_the_known_sizes_and_take_little_memory():
    data = StackedMNIST(REAL)
    assert data.describe()["sizes"] == {"train": 128_000, "validation": 26_000, "test": 26_000}
    start = perf_counter()
    train = data.split("train")
    n_bytes = sum(part.numel() * part.element_size() for part in (train.digits, train.digit_indices, train.labels))
    assert n_bytes < 50e6  # the stacks would take 300 MB
    assert perf_counter() - start < 5
    assert train.labels.bincount(minlength=1000).min() > 50
    x, y = train[torch.tensor([12_345])]
    digits = MNIST(REAL).split("train")
    places = train.digit_indices[12_345]
    assert x[0].equal(digits.x[places].squeeze(1))
    assert f"{y.item():03}" == "".join(str(label) for label in digits.y[places].tolist())
