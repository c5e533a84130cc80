import warnings
from itertools import islice

import pytest
import pytorch_lightning as lightning
import torch

from saddlepoint.data.data import Data, Split
from saddlepoint.data.gaussians import Gaussians
from saddlepoint.data.point import Point
from saddlepoint.error import Mistake
from saddlepoint.turn import Batch

N = 23


class Numbered(Data):
    """Images filled with their number, which identifies them in a batch."""

    name = "numbered"

    def __init__(self, batch=5, seed=0, shape=(1, 2, 2), classes=23):
        super().__init__(shape, classes, None, batch, seed)

    def splits(self):
        x = torch.arange(N, dtype=torch.uint8).view(N, 1, 1, 1).expand(N, 1, 2, 2).contiguous()
        return {name: Split(name, x, torch.arange(N)) for name in ("train", "validation", "test")}


def numbers(batches, n):
    return torch.cat([batch.y for batch in islice(batches, n)])


@pytest.mark.parametrize("start", [0, 1, 5, 22, 23, 46, 1000])
def test_a_stream_from_any_position_continues_the_stream_from_zero(start):
    full = numbers(Numbered(batch=1).training_batches(), start + 40)
    assert numbers(Numbered(batch=5).training_batches(start), 8).equal(full[start:])


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("start", [0, 17])
@pytest.mark.parametrize("batch", [4, 60])  # 60: larger than the set, so that it crosses epochs
def test_the_slices_of_all_ranks_form_the_batch_of_one_rank(world, start, batch):
    ranks = [Numbered(batch=batch).training_batches(start, rank, world) for rank in range(world)]
    for full in islice(Numbered(batch=batch).training_batches(start), 9):
        slices = [next(rank) for rank in ranks]
        assert {len(chunk) for chunk in slices} == {batch // world}
        assert torch.cat([chunk.x for chunk in slices]).equal(full.x)
        assert torch.cat([chunk.y for chunk in slices]).equal(full.y)


def test_every_batch_is_full_and_every_epoch_is_complete():
    labels = numbers(Numbered(batch=N + 2).training_batches(), N)
    assert labels.bincount().tolist() == [N + 2] * N


def test_splits_store_bytes_and_batches_hold_floats_in_minus_one_to_one():
    data = Numbered(batch=N)
    x, y = data.split("train")[torch.tensor([3, 0])]
    assert x.dtype == torch.uint8
    assert x.shape == (2, 1, 2, 2)
    assert y.tolist() == [3, 0]
    batch = next(data.training_batches())
    assert batch.x.dtype == torch.float32
    assert batch.y.dtype == torch.int64
    assert batch.x[:, 0, 1, 1].equal(batch.y / 127.5 - 1)


def test_batches_of_a_split_are_in_stored_order_and_finite():
    batches = list(Numbered().split("test").batches(10))
    assert [len(x) for x, _ in batches] == [10, 10, 3]
    assert torch.cat([y for _, y in batches]).equal(torch.arange(N))


def test_the_hash_of_a_split_depends_on_pixels_and_labels_only():
    x, y = torch.arange(24, dtype=torch.uint8).view(6, 1, 2, 2), torch.arange(6)
    same = Split("train", x, y).sha256
    assert Split("another name", x.clone(), y.clone()).sha256 == same
    changed, swapped = x.clone(), y.clone()
    changed[5, 0, 1, 1] += 1
    swapped[:2] = torch.tensor([1, 0])
    others = [
        Split("train", changed, y),
        Split("train", x, swapped),
        Split("train", x),
        Split("train", x.view(6, 1, 4, 1), y),
        Split("train", x.view(torch.int8), y),
    ]
    assert len({same, *(other.sha256 for other in others)}) == 6


def test_the_description_holds_plain_values_and_the_sizes():
    data = Numbered()
    assert data.describe() == {
        "name": "numbered",
        "shape": [1, 2, 2],
        "classes": N,
        "sizes": {"train": N, "validation": N, "test": N},
        "sha256": dict.fromkeys(("train", "validation", "test"), data.split("train").sha256),
    }


def test_facts_that_differ_from_the_data_are_refused_with_both_values():
    with pytest.raises(
        Mistake, match=r"data\.shape=\[3,2,2\] data\.classes=23.*data\.shape=\[1,2,2\] data\.classes=23"
    ):
        Numbered(shape=(3, 2, 2)).setup()
    with pytest.raises(Mistake, match=r"data\.classes=null.*data\.classes=23"):
        Numbered(classes=None).setup()


def test_bad_requests_are_refused_by_name():
    with pytest.raises(Mistake, match=r"no split 'valid': choose one of train, validation, test"):
        Numbered().split("valid")
    with pytest.raises(Mistake, match=r"batch is 0"):
        Numbered(batch=0)
    with pytest.raises(Mistake, match=r"batch=5 does not divide among 2 devices"):
        Numbered(batch=5).training_batches(world_size=2)


class Watcher(lightning.LightningModule):
    """A game that only records the labels of its batches."""

    def training_batches(self, data, rank, world_size):
        return data.training_batches(self.images, rank, world_size)

    def __init__(self, images):
        super().__init__()
        self.automatic_optimization = False
        self.images, self.labels = images, []

    def training_step(self, batch, batch_idx):
        assert isinstance(batch, Batch)
        self.labels.append(batch.y)
        self.images += len(batch)

    def configure_optimizers(self):
        return None


def fit(game, rounds):
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
        limit_train_batches=rounds,
    )
    trainer.fit(game, datamodule=Numbered())


@pytest.mark.filterwarnings("ignore:.*configure_optimizers.*")
def test_lightning_continues_the_stream_at_the_games_image_count_without_warnings():
    full = numbers(Numbered().training_batches(), 12)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(dataloader|batch|length|worker).*")
        first, second = Watcher(0), Watcher(25)
        before = torch.get_rng_state()
        fit(first, 5)
        fit(second, 7)
    assert torch.get_rng_state().equal(before)
    assert torch.cat(first.labels + second.labels).equal(full)


def test_the_concatenation_of_all_splits_has_every_row_once():
    data = Gaussians("ring-P", number=40)
    full, slices = data.split("all"), [data.split(name) for name in ("test", "validation", "train")]
    x, y = torch.cat([chunk.x for chunk in slices]), torch.cat([chunk.y for chunk in slices])
    assert (len(full), full.name, full.shape, full.classes) == (len(x), "all", (2,), 8)
    index = torch.tensor([20_039, 0, 10_000, 9_999, 0, 20_000])
    for actual, reference in zip(full[index], (x[index], y[index]), strict=True):
        assert torch.equal(actual, reference)
    for column, expected in enumerate((x, y)):
        assert torch.equal(torch.cat([rows[column] for rows in full.batches(999)]), expected)
        assert torch.equal(next(iter(full.batches_at([index])))[column], expected[index])
    assert full.sha256 == Split("anything", x, y).sha256
    assert "all" not in data.describe()["sizes"]


def test_all_splits_of_data_without_classes_have_none():
    point = Point(number=5).split("all")
    assert (len(point), point[torch.arange(2)][1]) == (15, None)
