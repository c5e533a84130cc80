"""Mirrored training images: a draw for each that is shown, of seed and position alone, and never what is measured."""

from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.data.data import Data, Split
from saddlepoint.data.digits import Digits
from saddlepoint.data.gaussians import Gaussians
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.error import Mistake
from saddlepoint.pixel import to_float

N = 46


class Lopsided(Data):
    """Images [1, 1, 2] of the item's number and 255: the second pixel is 255 unless they are mirrored."""

    def __init__(self, batch=5, seed=0, flip=True, n=N, **labelled):
        self.n = n
        super().__init__((1, 1, 2), n, None, batch, seed, flip=flip, **labelled)

    def splits(self):
        x = torch.stack([torch.arange(self.n), torch.full((self.n,), 255)], 1).to(torch.uint8).view(-1, 1, 1, 2)
        return {name: Split(name, x, torch.arange(self.n)) for name in ("train", "validation", "test")}


def mirrored(batches, n, labelled=False):
    """Which image is shown at each position, and whether it is mirrored."""
    shown = list(islice(batches, n))
    x = torch.cat([batch.labelled[0] if labelled else batch.x for batch in shown])
    y = torch.cat([batch.labelled[1] if labelled else batch.y for batch in shown])
    assert (x.amax((1, 2, 3)) == 1).all()
    return y, x[:, 0, 0, 0] == 1


def test_the_same_images_are_shown_in_the_same_order_some_of_them_mirrored():
    plain, flips = mirrored(Lopsided(flip=False).training_batches(), 100), mirrored(Lopsided().training_batches(), 100)
    assert plain[0].equal(flips[0])
    assert not plain[1].any()
    assert flips[1].any()


@pytest.mark.parametrize("start", [0, 1, 45, 46, 93, 1000])
def test_a_stream_taken_up_anywhere_mirrors_the_images_that_the_first_one_did(start):
    _, whole = mirrored(Lopsided(batch=1).training_batches(), start + 60)
    assert mirrored(Lopsided(batch=5).training_batches(start), 12)[1].equal(whole[start:])


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("labels", [None, 1])
def test_the_ranks_slices_joined_are_mirrored_as_the_batch_of_one_rank(world, labels):
    options = {"batch": 60, "labels": labels, "labelled_batch": 12}
    ranks = [Lopsided(**options).training_batches(17, rank, world) for rank in range(world)]
    for whole in islice(Lopsided(**options).training_batches(17), 9):
        parts = [next(rank) for rank in ranks]
        assert torch.cat([part.x for part in parts]).equal(whole.x)
        if labels:
            assert torch.cat([part.labelled[0] for part in parts]).equal(whole.labelled[0])


@pytest.mark.parametrize("labelled", [False, True])
def test_each_image_is_mirrored_half_of_the_times_and_each_time_anew(labelled):
    y, flips = mirrored(Lopsided(batch=N, labels=1).training_batches(), 400, labelled)
    times = torch.zeros(N).index_add_(0, y, flips.float())
    # 400 draws of 1/2 each, 46 of them: 5.5 standard deviations
    assert (times - 200).abs().max() < 55
    assert abs(flips.float().mean().item() - 0.5) < 0.01
    first, second = flips[:N][y[:N].argsort()], flips[N : 2 * N][y[N : 2 * N].argsort()]
    assert not first.equal(second)


def test_another_seed_draws_others_and_the_labelled_batches_draw_their_own():
    flips = [mirrored(Lopsided(seed=seed).training_batches(), 40)[1] for seed in (0, 1)]
    assert not flips[0].equal(flips[1])
    data = Lopsided(batch=N, labels=1)
    own, beside = (mirrored(data.training_batches(), 10, labelled)[1] for labelled in (False, True))
    assert not own.equal(beside)


def test_a_set_of_one_image_is_mirrored_too():
    assert 0 < mirrored(Lopsided(n=1, batch=1).training_batches(), 50)[1].float().mean() < 1


def test_a_mirrored_image_is_the_image_from_right_to_left(tmp_path):
    data = Digits(flip=True, batch=897)
    train, batch = data.split("train"), next(data.training_batches())
    plain = next(Digits(batch=897).training_batches())
    same = (batch.x == plain.x).flatten(1).all(1)
    turned = (batch.x == plain.x.flip(-1)).flatten(1).all(1)
    assert (same | turned).all()
    assert 350 < turned.sum() < 550
    assert train.sha256 == Digits().split("train").sha256


def test_what_is_measured_is_not_mirrored(tmp_path):
    for name in ("train", "validation", "test"):
        assert torch.equal(Digits(flip=True).split(name).x, Digits().split(name).x)
    assert Digits(flip=True).describe() == Digits().describe()


def test_images_from_disk_are_mirrored_as_those_in_memory(tmp_path):
    for i in range(12):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (4, 6, 3), dtype=np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    memory, disk = (ImageFolder(tmp_path, flip=True, batch=7, memory=m, workers=0) for m in (2**20, 0))
    plain = ImageFolder(tmp_path, batch=7)
    changed = 0
    for a, b, c in islice(
        zip(memory.training_batches(3), disk.training_batches(3), plain.training_batches(3), strict=True), 6
    ):
        assert a.x.equal(b.x)
        changed += (a.x != c.x).flatten(1).any(1).sum()
        assert ((a.x == c.x) | (a.x == c.x.flip(-1))).all()
    assert 0 < changed < 42
    assert a.x.dtype == to_float(memory.split("train").x[:1]).dtype


@pytest.mark.parametrize("flip", ["yes", 1, None, 0.5])
def test_it_is_true_or_false(flip):
    with pytest.raises(Mistake, match=r"data\.flip="):
        Digits(flip=flip)


def test_points_have_no_left_and_right():
    with pytest.raises(TypeError):
        Gaussians(flip=True)
    with pytest.raises(Mistake, match="images only"):
        Data((2,), None, flip=True)
