"""Labelled subsets: drawn with a separate seed, balanced, and yielded in batches in addition to the stream."""

from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.data.data import Data, Split
from saddlepoint.data.digits import Digits
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.data.labelled_subset import draw_labelled_indices
from saddlepoint.data.point import Point
from saddlepoint.error import Mistake
from saddlepoint.pixel import to_float

SIZES = (7, 4, 12)  # items of each class


class Numbered(Data):
    """23 images of three classes, filled with their number."""

    name = "numbered"

    def __init__(self, classes=3, batch=5, seed=0, **labelled):
        super().__init__((1, 2, 2), classes, None, batch, seed, **labelled)

    def splits(self):
        x = torch.arange(23, dtype=torch.uint8).view(23, 1, 1, 1).expand(23, 1, 2, 2).contiguous()
        y = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES)) if self.classes else None
        return {name: Split(name, x, y, self.classes) for name in ("train", "validation", "test")}


def shown(batches, n):
    """The numbers of the next n labelled batches, [n, size]."""
    x = torch.stack([batch.labelled[0][:, 0, 0, 0] for batch in islice(batches, n)])
    return ((x + 1) * 127.5).round().to(torch.int64)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_each_class_has_n_labels_and_a_larger_n_adds_to_them(n):
    rows = Numbered(labels=n).labelled_indices
    y = Numbered().split("train").y
    assert y[rows].tolist() == [label for label in range(3) for _ in range(n)]
    assert len(set(rows.tolist())) == 3 * n
    assert set(Numbered(labels=1).labelled_indices.tolist()) <= set(rows.tolist())


def test_the_labelled_images_depend_on_the_label_seed_only():
    first = Digits(labels=10).labelled_indices
    assert Digits(labels=10, seed=7, batch=3).labelled_indices.equal(first)
    others = [Digits(labels=10, label_seed=seed).labelled_indices for seed in range(1, 4)]
    assert len({tuple(sorted(rows.tolist())) for rows in (first, *others)}) == 4


def test_every_image_of_a_class_is_equally_likely_to_be_labelled():
    y = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
    counts = torch.zeros(23)
    for seed in range(3000):
        counts[draw_labelled_indices(y, 3, 2, seed)] += 1
    share = torch.tensor([2 / n for n in SIZES])[y]
    deviation = (counts / 3000 - share) / (share * (1 - share) / 3000).sqrt()
    assert deviation.abs().max() < 4


def test_a_labelled_batch_holds_the_labelled_images_and_their_classes():
    data = Digits(labels=3, batch=40)
    x, y = data.split("train")[data.labelled_indices]
    known = {image.numpy().tobytes(): int(label) for image, label in zip(to_float(x), y, strict=True)}
    for batch in islice(data.training_batches(), 5):
        images, classes = batch.labelled
        assert len(images) == 40
        assert [known[image.numpy().tobytes()] for image in images] == classes.tolist()


def test_labelled_images_are_shown_equally_often():
    data = Numbered(labels=4, labelled_batch=8, batch=5)
    numbers = shown(data.training_batches(), 30).flatten()  # 240 = 20 times 12
    assert numbers.bincount(minlength=23)[data.labelled_indices].tolist() == [20] * 12
    for epoch in numbers.view(20, 12):
        assert sorted(epoch.tolist()) == sorted(data.labelled_indices.tolist())
    assert not numbers[:12].equal(numbers[12:24])


def test_labels_do_not_change_the_stream_of_reals():
    plain, few = (
        Numbered(batch=23).training_batches(),
        Numbered(batch=23, labels=2, label_seed=3, labelled_batch=4).training_batches(),
    )
    for one, other in islice(zip(plain, few, strict=False), 3):
        assert one.x.equal(other.x)
        assert one.y.equal(other.y)
        assert one.labelled is None
        assert sorted(other.x[:, 0, 0, 0].tolist()) == sorted(to_float(torch.arange(23, dtype=torch.uint8)).tolist())


@pytest.mark.parametrize("size", [None, 2, 7, 30])
@pytest.mark.parametrize("rounds", [1, 6, 41])
def test_a_resumed_stream_continues_the_labelled_batches(size, rounds):
    whole = shown(Numbered(labels=4, labelled_batch=size).training_batches(), rounds + 9)
    assert shown(Numbered(labels=4, labelled_batch=size).training_batches(5 * rounds), 9).equal(whole[rounds:])


def test_all_ranks_together_have_the_labelled_batches_of_one_rank():
    settings = {"labels": 4, "labelled_batch": 6, "batch": 4}
    whole = shown(Numbered(**settings).training_batches(8), 9)
    ranks = [shown(Numbered(**settings).training_batches(8, rank, 2), 9) for rank in range(2)]
    assert torch.cat(ranks, 1).equal(whole)
    with pytest.raises(Mistake, match=r"labelled_batch=5 does not divide among 2 devices"):
        Numbered(labels=4, labelled_batch=5, batch=4).training_batches(0, 0, 2)


def test_the_description_lists_the_labelled_rows_only_with_labels():
    data = Numbered(labels=2, label_seed=5)
    few = data.describe()["labelled"]
    assert few["per_class"] == 2
    assert few["label_seed"] == 5
    listed = {int(label): list(map(int, rows.split())) for label, rows in few["rows"].items()}
    assert listed == {label: data.labelled_indices.view(3, 2)[label].tolist() for label in range(3)}
    assert "labelled" not in Numbered().describe()


def test_images_from_disk_are_labelled_like_those_in_memory(tmp_path):
    for number in range(40):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2, 3), number, np.uint8)).save(folder / f"{number}.png")
    settings = {"labels": 5, "labelled_batch": 4, "batch": 6}
    held = ImageFolder(tmp_path / "images", **settings)
    streamed = ImageFolder(tmp_path / "images", memory=0, workers=0, **settings)
    assert held.labelled_indices.equal(streamed.labelled_indices)
    assert shown(held.training_batches(), 7).equal(shown(streamed.training_batches(), 7))


def test_more_labels_than_images_of_a_class_are_refused_with_the_number():
    with pytest.raises(
        Mistake, match=r"data\.labels=5 per class, but class 1 has only 4 training images\. Set data\.labels=4"
    ):
        Numbered(labels=5).describe()
    with pytest.raises(Mistake, match=r"class 3 has no training images"):
        draw_labelled_indices(torch.tensor([0, 1, 2]), 4, 1, 0)


def test_labels_without_classes_and_invalid_numbers_are_refused():
    with pytest.raises(Mistake, match=r"data\.labels=3: these data have no classes"):
        Numbered(classes=None, labels=3)
    for settings in ({"labels": 0}, {"labels": 2.5}, {"labels": 2, "labelled_batch": 0}):
        with pytest.raises(Mistake, match="an integer of at least 1"):
            Numbered(**settings)
    with pytest.raises(TypeError, match="labels"):
        Point(labels=3)


def test_the_labels_are_part_of_the_identity_of_a_run():
    names = {
        compose(words).name for words in (["data.labels=2"], ["data.labels=5"], ["data.labels=2", "data.label_seed=1"])
    }
    assert len(names) == 3
    check(compose(["data.labels=2"]))


def test_only_labelled_splits_the_training_images_into_the_labelled_ones_and_the_rest():
    whole, data = Digits(labels=5, label_seed=3), Digits(labels=5, label_seed=3, only_labelled=True)
    train, kept, rest = whole.split("train"), data.split("train"), data.split("unlabelled")
    assert kept.x.equal(train.x[whole.labelled_indices])
    assert kept.y.bincount().tolist() == [5] * 10
    assert (len(kept), len(rest)) == (50, len(train) - 50)
    both = {x.numpy().tobytes() for split in (kept, rest) for x in split.x}
    assert both == {x.numpy().tobytes() for x in train.x}
    assert data.split("test").sha256 == whole.split("test").sha256
    assert data.labelled_indices is None
    assert next(data.training_batches()).labelled is None
    assert data.describe()["labelled"] == whole.describe()["labelled"]  # rows of the whole training set
    assert data.exchangeable_splits == (*whole.exchangeable_splits, "unlabelled")


def test_only_labelled_needs_labels_and_enough_images():
    with pytest.raises(Mistake, match=r"true needs data\.labels"):
        Digits(only_labelled=True)
    with pytest.raises(Mistake, match="true or false"):
        Digits(labels=5, only_labelled="yes")
    with pytest.raises(Mistake, match=r"data\.labels=200 per class, but class \d has only \d+ training images"):
        Digits(labels=200, only_labelled=True).split("train")
    with pytest.raises(Mistake, match="these data have no classes"):
        Numbered(classes=None, labels=5, only_labelled=True)
