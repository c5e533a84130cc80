"""Pairs: x and its source are read, resized, mirrored and cropped alike; what does not match is named."""

from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from saddlepoint.config.compose import compose
from saddlepoint.data.augmentation import Augmentation, crop
from saddlepoint.data.paired_images import PairedImages
from saddlepoint.error import Mistake

N = 12


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    """12 pairs of odd sizes in two folders: the source is the negative of x, in a file of another type."""
    for i in range(N):
        pixels = noise(i, 20 + i, 31 - i)
        save(tmp_path / "photos" / f"{i}.png", pixels)
        save(tmp_path / "negatives" / f"{i}.bmp", 255 - pixels)
    return {"folder": tmp_path / "photos", "source": tmp_path / "negatives"}


def assert_negatives(x, source, tolerance):
    assert (x.int() + source.int() - 255).abs().max() <= tolerance


def test_both_images_of_a_pair_are_resized_alike(folders):
    data = PairedImages(**folders, size=16, workers=0)
    assert (data.shape, data.classes, data.extractor) == ((3, 16, 16), None, "nearest")
    for split in data.splits().values():
        assert_negatives(split.x, split.extra_columns["source"], 1)  # LANCZOS rounds each
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 10, "validation": 1, "test": 1}


@pytest.mark.parametrize("half", ["left", "right"])
def test_halves_of_side_by_side_images_equal_two_folders(tmp_path, folders, half):
    for i in range(N):
        x = noise(i, 20 + i, 31 - i)
        both = [x, 255 - x] if half == "right" else [255 - x, x]
        save(tmp_path / "both" / f"{i}.png", np.concatenate(both, 1))
    # the split is by name, and the names are equal
    one = PairedImages(tmp_path / "both", source_half=half, size=16, workers=0).splits()
    two = PairedImages(**folders, size=16, workers=0).splits()
    for name, split in one.items():
        assert split.x.equal(two[name].x)
        assert split.extra_columns["source"].equal(two[name].extra_columns["source"])


def test_an_npz_of_x_and_source_keeps_the_channels_and_the_size_of_each(tmp_path):
    x, source = np.zeros((20, 8, 8, 3), np.uint8), np.arange(20 * 16, dtype=np.uint8).reshape(20, 4, 4)
    x[:, 0, 0, 0] = np.arange(20)
    np.savez(tmp_path / "pairs.npz", x=x, source=source)
    data = PairedImages(tmp_path / "pairs.npz", source_channels=1)
    for split in data.splits().values():
        assert split.extra_columns["source"].shape[1:] == (1, 4, 4)
        assert split.extra_columns["source"].equal(torch.from_numpy(source)[split.x[:, 0, 0, 0].long()][:, None])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("jitter", [0, 3])
def test_a_training_pair_is_mirrored_and_cropped_alike(folders, flip, jitter):
    data = PairedImages(**folders, size=16, workers=0, batch=5, flip=flip, jitter=jitter)
    plain = PairedImages(**folders, size=16, workers=0, batch=5)
    changed = False
    for batch, unchanged in islice(zip(data.training_batches(3), plain.training_batches(3), strict=True), 8):
        assert (batch.x + batch.extra_columns["source"]).abs().max() < 2 / 127
        changed |= not batch.x.equal(unchanged.x)
    assert changed == bool(flip or jitter)


def test_a_resumed_stream_and_the_ranks_together_crop_the_same(folders):
    data = PairedImages(**folders, size=8, workers=0, batch=4, jitter=2, flip=True)
    whole = torch.cat([batch.x for batch in islice(data.training_batches(), 10)])
    assert torch.cat([batch.x for batch in islice(data.training_batches(12), 7)]).equal(whole[12:])
    ranks = [[b.extra_columns["source"] for b in islice(data.training_batches(0, r, 2), 3)] for r in (0, 1)]
    full = [batch.extra_columns["source"] for batch in islice(data.training_batches(), 3)]
    for first, second, both in zip(*ranks, full, strict=True):
        assert torch.cat([first, second]).equal(both)


def test_a_crop_is_a_window_of_the_enlarged_image_and_each_window_is_equally_frequent():
    x = torch.rand(9, 2, 4, 6)
    large = interpolate(x, (6, 8), mode="bilinear", align_corners=False)
    crops = crop(x, 2, torch.arange(9))
    for number in range(9):
        top, left = divmod(number, 3)
        assert crops[number].equal(large[number, :, top : top + 4, left : left + 6])
    draws = torch.cat(list(islice(Augmentation(7, 6, 6, 0, jitter=2).draws(), 15)))[:, 1]
    assert torch.bincount(draws).tolist() == [10] * 9


def test_evaluation_does_not_crop(folders):
    data, plain = (PairedImages(**folders, size=16, workers=0, jitter=j) for j in (4, 0))
    for name in ("train", "validation", "test"):
        assert data.batch_at(name, torch.arange(1)).x.equal(plain.batch_at(name, torch.arange(1)).x)
    assert data.describe() == plain.describe()


def test_images_without_a_partner_are_named(folders):
    (folders["source"] / "3.bmp").rename(folders["source"] / "three.bmp")
    with pytest.raises(Mistake, match=r"(?s)1 of 12 images of .*photos have no source .*: 3\.png; 1 .*three\.bmp"):
        PairedImages(**folders, size=16, workers=0).splits()


def test_two_files_of_one_name_are_refused(folders):
    save(folders["source"] / "3.png", noise(0, 4, 4))
    with pytest.raises(Mistake, match=r"3\.(bmp|png) and 3\.(bmp|png) have one name apart"):
        PairedImages(**folders, size=16, workers=0).splits()


def test_pairs_of_another_aspect_ratio_are_named_and_smaller_copies_accepted(folders):
    save(folders["source"] / "0.bmp", noise(0, 20, 20))
    with pytest.raises(Mistake, match=r"1 of 12 pairs .*: 0\.png \(20x20 to 31x20\)"):
        PairedImages(**folders, size=16, workers=0).splits()
    small = Image.fromarray(255 - noise(0, 20, 31)).resize((15, 10))
    small.save(folders["source"] / "0.bmp")
    PairedImages(**folders, size=16, workers=0).splits()


def test_without_a_size_images_of_one_size_are_needed(folders):
    with pytest.raises(Mistake, match=r"Set data\.size="):
        PairedImages(**folders, workers=0).splits()


def test_an_odd_width_of_two_images_side_by_side_is_refused(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", noise(i, 4, 9))
    with pytest.raises(Mistake, match=r"is 9x4: two images side by side"):
        PairedImages(tmp_path, source_half="left", size=4, workers=0).splits()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": None}, "no sources"),
        ({"source_half": "left"}, r"Set either data\.source"),
        ({"source_half": "middle"}, "left or right"),
        ({"jitter": -1}, r"data\.jitter=-1"),
        ({"jitter": 1.5}, r"data\.jitter=1\.5"),
        ({"source_channels": 5}, r"data\.channels=5"),
        ({"memory": 10}, r"data\.memory=18432"),
    ],
)
def test_settings_that_define_no_pairs_are_refused(folders, change, message):
    with pytest.raises(Mistake, match=message):
        PairedImages(**{**folders, "size": 16, "workers": 0, **change}).splits()


def test_an_npz_without_sources_or_with_other_channels_is_refused(tmp_path):
    path = tmp_path / "pairs.npz"
    np.savez(path, x=np.zeros((9, 4, 4, 3), np.uint8), label=np.zeros(9))
    with pytest.raises(Mistake, match="need the arrays x and source"):
        PairedImages(path).splits()
    np.savez(path, x=np.full((9, 4, 4, 3), 9, np.uint8), source=np.zeros((9, 2, 2), np.uint8))
    with pytest.raises(Mistake, match=r"source have 1 channels: set data\.source_channels=1"):
        PairedImages(path).splits()
    with pytest.raises(Mistake, match=r"jitter=2 needs .* one size, not 2x2 and 4x4"):
        PairedImages(path, source_channels=1, jitter=2).splits()
    with pytest.raises(Mistake, match="has both images of a pair"):
        PairedImages(path, source_half="left")


def test_the_config_reads_the_shape_and_keeps_the_sources_in_the_identity(folders, tmp_path):
    arguments = ["data=paired_images", f"data.folder={folders['folder']}", "data.size=16"]
    one = compose([*arguments, f"data.source={folders['source']}"])
    assert one.data.shape == [3, 16, 16]
    (folders["source"]).rename(tmp_path / "other")
    assert compose([*arguments, f"data.source={tmp_path / 'other'}"]).name != one.name


def test_jitter_draws_come_from_the_augment_stream_of_the_seed():
    one, other = (next(Augmentation(50, 32, 32, seed, jitter=9).draws()) for seed in (0, 1))
    assert not one.equal(other)
