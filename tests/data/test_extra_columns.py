"""Extra columns of a split: each batch has them in float form, aligned with x."""

import pytest
import torch

from saddlepoint.data.data import ConcatSplit, Data, Split
from saddlepoint.pixel import to_float, to_uint16


class Paired(Data):
    """Images whose source is their negative, with two attributes: x[i] is filled with i."""

    name = "paired"

    def splits(self):
        def made(name, first, n):
            x = torch.arange(first, first + n, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 2, 3)
            x[..., 0] = 255  # what mirroring moves
            more = {"source": 255 - x, "attributes": torch.stack([x[:, 0, 0, 1], 2 * x[:, 0, 0, 1]], 1).long()}
            return Split(name, x, x[:, 0, 0, 1].long() % 2, 2, extra_columns=more)

        return {"train": made("train", 0, 20), "validation": made("validation", 20, 4), "test": made("test", 24, 4)}


@pytest.mark.parametrize("flip", [False, True])
def test_columns_stay_aligned_with_their_rows_mirrored_or_not(flip):
    data = Paired((1, 2, 3), 2, batch=8, flip=flip)
    stream, mirrored = data.training_batches(16), 0
    for _ in range(8):
        batch = next(stream)
        assert torch.equal(batch.extra_columns["source"], -batch.x)
        assert batch.extra_columns["source"].dtype == torch.float32
        value = ((batch.x[:, 0, 0, 1] + 1) * 127.5).round().long()
        assert torch.equal(batch.extra_columns["attributes"], torch.stack([value, 2 * value], 1))
        mirrored += int((batch.x[..., 0] < 1).all((1, 2)).sum())
    assert (mirrored > 0) == flip


def test_the_stream_from_a_later_image_gives_the_same_columns():
    data = Paired((1, 2, 3), 2, batch=4)
    whole = [next(s) for s in [data.training_batches()] for _ in range(5)][3]
    later = next(data.training_batches(12))
    assert torch.equal(whole.extra_columns["attributes"], later.extra_columns["attributes"])


def test_batches_at_an_index_and_first_batches_have_every_column():
    data = Paired((1, 2, 3), 2)
    rows = data.batch_at("test", torch.tensor([3, 1]))
    assert rows.y.tolist() == [1, 1]
    assert rows.extra_columns["attributes"][:, 0].tolist() == [27, 25]
    assert torch.equal(rows.extra_columns["source"], -rows.x)
    assert set(data.first_batch(3).columns()) == {"x", "y", "labelled_x", "labelled_y", "source", "attributes"}


def test_concatenated_splits_have_the_concatenated_columns():
    splits = Paired((1, 2, 3), 2).splits()
    joined = ConcatSplit("all", [splits["test"], splits["train"]])
    assert joined.extra_columns_at(torch.tensor([0, 4, 5]))["attributes"][:, 0].tolist() == [24, 0, 1]


def test_a_column_changes_the_sha256_of_a_split_and_an_empty_one_does_not():
    x = torch.zeros(3, 2)
    plain, with_column = Split("train", x), Split("train", x, extra_columns={"a": torch.zeros(3)})
    assert plain.sha256 == Split("train", x, extra_columns={}).sha256 != with_column.sha256
    assert with_column.sha256 != Split("train", x, extra_columns={"a": torch.ones(3)}).sha256


@pytest.mark.parametrize(("name", "rows"), [("x", 3), ("y", 3), ("source", 2)])
def test_a_column_of_another_length_or_a_reserved_name_is_refused(name, rows):
    with pytest.raises(ValueError, match=name):
        Split("train", torch.zeros(3, 2), extra_columns={name: torch.zeros(rows)})


def test_sixteen_bits_survive_conversion_to_float_and_back():
    values = torch.arange(65536).to(torch.uint16)
    assert torch.equal(to_uint16(to_float(values)), values)
    assert (to_float(values).min(), to_float(values).max()) == (-1, 1)
