"""Mirrored training images: one draw per image shown, which depends on seed and position only; never in evaluation."""

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
    """Images [1, 1, 2] of the image's number and 255: the second pixel is 255 unless the image is mirrored."""

    def __init__(self, batch=5, seed=0, flip=True, n=N, **labelled):
        self.n = n
        super().__init__((1, 1, 2), n, None, batch, seed, flip=flip, **labelled)

    def splits(self):
        x = torch.stack([torch.arange(self.n), torch.full((self.n,), 255)], 1).to(torch.uint8).view(-1, 1, 1, 2)
        return {name: Split(name, x, torch.arange(self.n)) for name in ("train", "validation", "test")}


def mirrored(batches, n, labelled=False):
    """The number of the image at each position, and whether it is mirrored."""
    shown = list(islice(batches, n))
    x = torch.cat([batch.labelled[0] if labelled else batch.x for batch in shown])
    y = torch.cat([batch.labelled[1] if labelled else batch.y for batch in shown])
    assert (x.amax((1, 2, 3)) == 1).all()
    return y, x[:, 0, 0, 0] == 1


def test_flipping_mirrors_some_images_and_keeps_their_order():
    plain, flips = mirrored(Lopsided(flip=False).training_batches(), 100), mirrored(Lopsided().training_batches(), 100)
    assert plain[0].equal(flips[0])
    assert not plain[1].any()
    assert flips[1].any()


@pytest.mark.parametrize("start", [0, 1, 45, 46, 93, 1000])
def test_a_resumed_stream_mirrors_the_same_images(start):
    _, full = mirrored(Lopsided(batch=1).training_batches(), start + 60)
    assert mirrored(Lopsided(batch=5).training_batches(start), 12)[1].equal(full[start:])


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("labels", [None, 1])
def test_all_ranks_together_mirror_the_same_images_as_one_rank(world, labels):
    options = {"batch": 60, "labels": labels, "labelled_batch": 12}
    ranks = [Lopsided(**options).training_batches(17, rank, world) for rank in range(world)]
    for full in islice(Lopsided(**options).training_batches(17), 9):
        slices = [next(rank) for rank in ranks]
        assert torch.cat([chunk.x for chunk in slices]).equal(full.x)
        if labels:
            assert torch.cat([chunk.labelled[0] for chunk in slices]).equal(full.labelled[0])


@pytest.mark.parametrize("labelled", [False, True])
def test_each_image_is_mirrored_independently_half_of_the_times(labelled):
    y, flips = mirrored(Lopsided(batch=N, labels=1).training_batches(), 400, labelled)
    times = torch.zeros(N).index_add_(0, y, flips.float())
    # 400 draws of 1/2 each, 46 of them: 5.5 standard deviations
    assert (times - 200).abs().max() < 55
    assert abs(flips.float().mean().item() - 0.5) < 0.01
    first, second = flips[:N][y[:N].argsort()], flips[N : 2 * N][y[N : 2 * N].argsort()]
    assert not first.equal(second)


def test_mirroring_depends_on_the_seed_and_is_separate_for_labelled_batches():
    flips = [mirrored(Lopsided(seed=seed).training_batches(), 40)[1] for seed in (0, 1)]
    assert not flips[0].equal(flips[1])
    data = Lopsided(batch=N, labels=1)
    draws, labelled_draws = (mirrored(data.training_batches(), 10, labelled)[1] for labelled in (False, True))
    assert not draws.equal(labelled_draws)


def test_a_set_of_one_image_is_mirrored():
    assert 0 < mirrored(Lopsided(n=1, batch=1).training_batches(), 50)[1].float().mean() < 1


def test_a_mirrored_image_is_flipped_left_to_right(tmp_path):
    data = Digits(flip=True, batch=897)
    train, batch = data.split("train"), next(data.training_batches())
    plain = next(Digits(batch=897).training_batches())
    same = (batch.x == plain.x).flatten(1).all(1)
    turned = (batch.x == plain.x.flip(-1)).flatten(1).all(1)
    assert (same | turned).all()
    assert 350 < turned.sum() < 550
    assert train.sha256 == Digits().split("train").sha256


def test_images_for_evaluation_are_not_mirrored(tmp_path):
    for name in ("train", "validation", "test"):
        assert torch.equal(Digits(flip=True).split(name).x, Digits().split(name).x)
    assert Digits(flip=True).describe() == Digits().describe()


def test_images_from_disk_are_mirrored_like_those_in_memory(tmp_path):
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
def test_a_flip_that_is_not_a_boolean_is_refused(flip):
    with pytest.raises(Mistake, match=r"data\.flip="):
        Digits(flip=flip)


def test_flipping_points_is_refused():
    with pytest.raises(TypeError):
        Gaussians(flip=True)
    with pytest.raises(Mistake, match="images only"):
        Data((2,), None, flip=True)
