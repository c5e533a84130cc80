"""Data without pairs: orders of their own, the same on ranks and after a resume; disjoint halves; refusals."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.data.data import ConcatSplit, Data, Split
from saddlepoint.data.digits_mnist import DigitsMNIST, resize_digits
from saddlepoint.data.openmoji import FILE, OpenMoji
from saddlepoint.data.openmoji_unpaired import OpenMojiUnpaired
from saddlepoint.data.unpaired_images import UnpairedImages
from saddlepoint.error import Mistake

ROOT = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))


class Two(Data):
    """x counts from 0 to 29, the other domain from 0 to 11; both in all pixels."""

    name = "two"

    def splits(self):
        x, source = (torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 2, 2) for n in (30, 12))
        columns = {"source": source, "source_y": torch.arange(12)}
        return {name: Split(name, x, extra_columns=columns, paired=False) for name in ("train", "validation", "test")}


def numbers(batch):
    x, source = (((t[:, 0, 0, 0] + 1) * 127.5).round().long() for t in (batch.x, batch.extra_columns["source"]))
    assert torch.equal(source, batch.extra_columns["source_y"])  # columns of the other domain stay together
    return x, source


def test_each_domain_has_an_order_of_its_own_that_visits_each_image_once_per_epoch():
    batches = list(islice(Two((1, 2, 2), None, batch=6).training_batches(), 10))
    x, source = (torch.cat(part) for part in zip(*map(numbers, batches), strict=True))
    for values, n in ((x, 30), (source, 12)):
        for epoch in range(60 // n):
            assert values[epoch * n : (epoch + 1) * n].sort().values.tolist() == list(range(n))
    assert not torch.equal(x[:12] % 12, source[:12])
    firsts = [source[i * 12 : i * 12 + 12].tolist() for i in range(5)]
    assert len(set(map(tuple, firsts))) == 5


def test_ranks_and_a_later_start_give_the_same_images():
    data = Two((1, 2, 2), None, batch=6, flip=True)
    whole = list(islice(data.training_batches(), 6))
    ranks = [list(islice(data.training_batches(12, rank, 2), 4)) for rank in range(2)]
    for i in range(4):
        for column in ("source", "source_y"):
            joined = torch.cat([batches[i].extra_columns[column] for batches in ranks])
            assert torch.equal(joined, whole[i + 2].extra_columns[column])


def test_rows_beyond_the_other_domain_start_over_and_its_content_counts():
    split = Two((1, 2, 2), None).split("test")
    assert split.batch_at(torch.tensor([11, 12, 25])).extra_columns["source_y"].tolist() == [11, 0, 1]
    later = numbers(split.batch_at(torch.tensor([29, 30, 35])))  # of either domain
    assert [rows.tolist() for rows in later] == [[29, 0, 5], [5, 6, 11]]
    assert [split.column_rows(column) for column in ("x", "source", "source_y")] == [30, 12, 12]
    changed = dict(split.extra_columns, source_y=split.extra_columns["source_y"].flip(0))
    assert Split("test", split.x, extra_columns=changed, paired=False).sha256 != split.sha256
    joined = ConcatSplit("all", [split, split])
    assert joined.batch_at(torch.tensor([25, 50])).extra_columns["source_y"].tolist() == [1, 2]
    assert Two((1, 2, 2), None).describe()["sizes"]["train"] == 30
    data = Two((1, 2, 2), None)
    data.split("train")
    assert data.describe()["unpaired_rows"] == {"train": 12, "validation": 12, "test": 12}
    with pytest.raises(ValueError, match="column b has 3 rows instead of 2"):
        Split("a", torch.zeros(5, 2), extra_columns={"a": torch.zeros(2), "b": torch.zeros(3)}, paired=False)


def test_no_emoji_is_in_both_domains_and_held_out_ones_are_pairs(tmp_path):
    line = (np.arange(700) % 256).astype(np.uint8)[:, None, None].repeat(32, 1).repeat(32, 2)
    names = np.array([str(i) for i in range(700)])
    line[:, 0, 0], line[:, 0, 1] = np.arange(700) // 256, np.arange(700) % 256  # the number of the emoji
    np.savez(tmp_path / FILE, line=line, colour=line[..., None].repeat(3, 3), name=names)
    data, paired = OpenMojiUnpaired(tmp_path), OpenMoji(tmp_path)
    train = data.split("train")
    ids = [x[:, 0, 0, 0].long() * 256 + x[:, 0, 0, 1] for x in (train.x, train.extra_columns["source"])]
    assert [len(set(one.tolist())) for one in ids] == [100, 100]
    assert not {*ids[0].tolist()} & {*ids[1].tolist()}
    assert not train.paired
    for name in ("validation", "test"):
        split = data.split(name)
        assert split.paired
        assert torch.equal(split.x, paired.split(name).x)
        assert torch.equal(
            split.extra_columns["source"], paired.split(name).extra_columns["source"].expand(-1, 3, -1, -1)
        )


def test_digits_are_resized_as_pillow_does():
    x = torch.randint(0, 256, (3, 1, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = [np.asarray(Image.fromarray(i[0].numpy()).resize((16, 16), Image.Resampling.BILINEAR)) for i in x]
    assert (resize_digits(x)[:, 0].int() - torch.from_numpy(np.stack(expected)).int()).abs().max() <= 1


@pytest.mark.slow  # reads MNIST
def test_digits_and_mnist_keep_their_own_classes():
    if not (ROOT / "MNIST").is_dir():
        pytest.skip("MNIST is not in the data folder")
    data = DigitsMNIST(ROOT, number=50)
    train = data.split("train")
    assert (len(train), train.extra_rows, len(data.split("test"))) == (50, 897, 10_000)
    assert torch.equal(train.extra_columns["source_y"], data.digits.splits()["train"].y)
    assert train.extra_columns["source"].shape[1:] == train.x.shape[1:] == (1, 16, 16)


def save(folder, n, size=8, first=0, mode="RGB"):
    folder.mkdir()
    for i in range(first, first + n):
        Image.new(mode, (size, size), 10 * i if mode == "L" else (10 * i, 0, 0)).save(folder / f"{i:02}.png")
    return folder


def test_two_folders_of_different_lengths(tmp_path):
    data = UnpairedImages(save(tmp_path / "a", 12), save(tmp_path / "b", 5, first=3), extractor=None)
    sizes = {name: (len(data.split(name)), data.split(name).extra_rows) for name in ("train", "validation", "test")}
    assert sizes == {"train": (10, 3), "validation": (1, 1), "test": (1, 1)}
    assert not any("same" in note for note in data.notes)
    assert set(data.describe()) >= {"files", "source_files"}


def test_names_of_pairs_are_stated_once(tmp_path):
    data = UnpairedImages(save(tmp_path / "a", 6), save(tmp_path / "b", 6), extractor=None)
    data.split("train")
    assert sum("have the same 6 names. If these are pairs, data=paired_images" in note for note in data.notes) == 1


def test_domains_of_different_sizes_or_channels_are_refused(tmp_path):
    small, large = save(tmp_path / "a", 6), save(tmp_path / "b", 6, size=16)
    with pytest.raises(Mistake, match=r"the domains differ: 3 channels, 16x16.*3 channels, 8x8.*data\.size"):
        UnpairedImages(small, large, extractor=None).split("train")
    assert UnpairedImages(small, large, size=4, extractor=None).split("train").x.shape[1:] == (3, 4, 4)
    for name, channels in (("c", 3), ("d", 1)):
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((6, channels, 8, 8), np.uint8))
    with pytest.raises(Mistake, match=r"d\.npz: x is \[6, 1, 8, 8\], and data\.channels=3"):
        UnpairedImages(tmp_path / "c.npz", tmp_path / "d.npz", extractor=None).split("train")
    with pytest.raises(Mistake, match=r"one domain\. Set data\.source"):
        UnpairedImages(small)
    with pytest.raises(Mistake, match="kept in memory"):
        UnpairedImages(small, save(tmp_path / "e", 6), memory=1, extractor=None).split("train")


def test_a_missing_folder_of_sources_is_named_by_its_own_key(tmp_path):
    save(tmp_path / "x", 4)
    with pytest.raises(Mistake, match=r"data\.source=.*none: no such folder"):
        UnpairedImages(tmp_path / "x", tmp_path / "none", size=8).setup("fit")
