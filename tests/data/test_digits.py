import pytest
import torch
from sklearn.datasets import load_digits

from saddlepoint.data.digits import SIZES, Digits, stratified_order
from saddlepoint.error import Mistake


def test_the_splits_contain_every_digit_once():
    data, (images, labels) = Digits(), load_digits(return_X_y=True)
    splits = [data.split(name) for name in SIZES]
    assert [len(split) for split in splits] == [897, 450, 450]
    joined = sorted((y, *x.flatten().tolist()) for s in splits for x, y in zip(s.x, s.y.tolist(), strict=True))
    assert joined == sorted(
        (int(y), *(round(v * 255 / 16) for v in x)) for x, y in zip(images.tolist(), labels, strict=True)
    )


def test_the_splits_share_no_item():
    parts = stratified_order(torch.from_numpy(load_digits().target), "digits").split([897, 450, 450])
    assert torch.cat(parts).sort().values.equal(torch.arange(1797))


def test_each_split_has_each_class_in_proportion():
    counts = torch.from_numpy(load_digits().target).bincount()
    for name, size in SIZES.items():
        share = counts * size / 1797
        assert (Digits().split(name).y.bincount() - share).abs().max() <= 2


def test_the_split_is_fixed_across_seeds_and_versions():
    described = Digits(seed=1, batch=3).describe()
    assert described == Digits(seed=2).describe()
    assert described["shape"] == [1, 8, 8]
    assert described["classes"] == 10
    assert {name: digest[:16] for name, digest in described["sha256"].items()} == {
        "train": "81c3199b8f33e1f0",
        "validation": "7e85f1b5deaac3bd",
        "test": "c2b7bd555e369b18",
    }


def test_the_seed_decides_the_order_of_the_stream():
    first, again, other = (next(Digits(seed=seed, batch=50).training_batches()) for seed in (1, 1, 2))
    assert first.x.equal(again.x)
    assert not first.x.equal(other.x)
    assert first.x.min() == -1
    assert first.x.max() == 1


def test_reserved_images_are_taken_from_train_and_leave_every_class_in_proportion():
    whole, data = Digits(), Digits(reserved=797)
    assert {name: len(data.split(name)) for name in data.exchangeable_splits} == {
        "train": 100, "reserved": 797, "validation": 450, "test": 450,
    }  # fmt: skip
    joined = torch.cat([data.split("train").x, data.split("reserved").x])
    assert joined.equal(whole.split("train").x)
    assert (data.split("train").y.bincount(minlength=10) - 10).abs().max() <= 1
    for name in ("validation", "test"):
        assert data.split(name).sha256 == whole.split(name).sha256


@pytest.mark.parametrize("reserved", [0, 897, -1, 2.5, True])
def test_a_reserve_that_is_empty_or_leaves_no_training_image_is_refused(reserved):
    with pytest.raises(Mistake, match=rf"data\.reserved={reserved}: .* 1 to 896"):
        Digits(reserved=reserved)
