"""Loaded samples: a folder, a zip and an npz of the same images give the same samples."""

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.data.samples import labels_of_folders, load_samples
from saddlepoint.error import Mistake

GREY, COLOUR = (1, 6, 6), (3, 6, 6)


def images(n=12, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 6, channels), dtype=np.uint8)


def folder(path, array, names=None, **options):
    for i, image in enumerate(array):
        file = path / (names[i] if names else f"{i:03d}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image, **options).save(file)
    return path


def zipped(path):
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for file in sorted(path.rglob("*.png")):
            archive.write(file, file.relative_to(path).as_posix())
    return path.with_suffix(".zip")


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_folder_zip_and_npz_of_the_same_images_give_the_same_samples(tmp_path, channels):
    array = images(channels=channels)
    source = folder(tmp_path / "f", array)
    expected = torch.from_numpy(array).permute(0, 3, 1, 2)
    places = [
        source,
        zipped(source),
        npz(tmp_path / "last.npz", arr_0=array),
        npz(tmp_path / "first.npz", x=array.transpose(0, 3, 1, 2)),
    ]
    if channels == 1:
        places.append(npz(tmp_path / "flat.npz", arr_0=array[..., 0]))
    for path in places:
        split = load_samples(path, (channels, 6, 6))
        assert torch.equal(split[torch.arange(12)][0], expected), path
        assert (split.y, split.name) == (None, "samples")
    assert len({load_samples(path, (channels, 6, 6)).sha256 for path in places}) == 1


def test_labelled_samples_are_shuffled_by_content_and_keep_their_labels(tmp_path):
    array = images(60)
    y = np.repeat(np.arange(3), 20)
    source = folder(tmp_path / "f", array, [f"{'abc'[c]}/{i:03d}.png" for i, c in enumerate(y)])
    one, two = load_samples(source, GREY), load_samples(npz(tmp_path / "x.npz", arr_0=array, y=y), GREY)
    for split in (one, two):
        assert len(split.y[:30].unique()) == 3  # not class by class
        for x, label in zip(split.x, split.y, strict=True):
            path = next(i for i in range(60) if np.array_equal(array[i, ..., 0], x[0].numpy()))
            assert y[path] == label
    assert torch.equal(one.x, two.x)


def test_a_class_folder_and_an_npz_of_the_same_samples_are_equal(tmp_path):
    array, y = images(40), np.arange(40) % 4
    source = folder(tmp_path / "f", array, [f"{c}/{i:03d}.png" for i, c in enumerate(y)])
    shuffled = np.random.default_rng(1).permutation(40)
    one, two = (
        load_samples(source, GREY),
        load_samples(npz(tmp_path / "x.npz", arr_0=array[shuffled], y=y[shuffled]), GREY),
    )
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.y, two.y)


def test_points_are_loaded_from_an_npz_of_floats(tmp_path):
    array = np.random.default_rng(0).normal(size=(7, 2))
    split = load_samples(npz(tmp_path / "x.npz", arr_0=array), (2,))
    assert split.x.dtype == torch.float32
    assert np.allclose(split.x.numpy(), array)


def test_changes_to_images_of_another_mode_are_logged(tmp_path):
    log = []
    split = load_samples(folder(tmp_path / "rgb", images(channels=3)), GREY, log.append)
    assert split.shape == GREY
    assert "12 of 12: RGB images are turned into grey (ITU-R 601-2 luma)" in log[1]
    log.clear()
    split = load_samples(folder(tmp_path / "grey", images()), COLOUR, log.append)
    x = split[torch.arange(12)][0]
    assert torch.equal(x[:, 0], x[:, 2])
    assert "grey images get three equal channels" in log[1]
    log.clear()
    rgba = images(channels=4)
    rgba[..., 3] = 0
    x = load_samples(folder(tmp_path / "rgba", rgba), COLOUR, log.append)[torch.arange(12)][0]
    assert (x == 255).all()  # wholly transparent, so wholly white
    assert "laid over white" in log[1]
    mixed = folder(tmp_path / "mixed", images(2))
    folder(mixed, images(1, 3), ["a.png"])
    log.clear()
    load_samples(mixed, GREY, log.append)
    assert any("1 of 3: RGB" in line for line in log)


def sixteen_bits(path):
    path.mkdir()
    Image.fromarray(np.full((6, 6), 40_000, dtype=np.uint16)).save(path / "a.png")
    return path


def other_sizes(path):
    folder(path, images(3))
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(path / "z.png")
    return path


def empty(path):
    path.mkdir()
    return path


def truncated_npz(path):
    path = npz(path.with_suffix(".npz"), arr_0=images())
    path.write_bytes(path.read_bytes()[:200])
    return path


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda p: p, GREY, "no such folder, zip, npz or npy"),
        (empty, GREY, "holds no images"),
        (sixteen_bits, GREY, "more than 8 bits"),
        (other_sizes, GREY, "Bring all samples to 6x6 first"),
        (lambda p: folder(p, images()), (1, 8, 8), "6x6, and the data are 8x8"),
        (lambda p: folder(p, images()), (2,), "image files cannot be compared with"),
        (truncated_npz, GREY, "cannot be read"),
        (lambda p: npz(p.with_suffix(".npz"), a=images(), b=images()), GREY, "one array of samples"),
        (lambda p: npz(p.with_suffix(".npz"), arr_0=images() / 255.0), GREY, "images are uint8"),
        (lambda p: npz(p.with_suffix(".npz"), arr_0=images(channels=3)), GREY, "[12, 6, 6, 3], and the data"),
        (lambda p: npz(p.with_suffix(".npz"), arr_0=images(0)), GREY, "holds no samples"),
        (lambda p: npz(p.with_suffix(".npz"), arr_0=images(), y=np.arange(3)), GREY, "the labels are"),
        (lambda p: npz(p.with_suffix(".npz"), arr_0=np.zeros((4, 3))), (2,), "points of 2 floats"),
        (lambda p: npz(p.with_suffix(".npz"), arr_0=np.array([{}])), GREY, "plain arrays"),
    ],
)
def test_unusable_samples_are_refused_in_at_most_two_lines(tmp_path, make, shape, message):
    def load_all(path):
        split = load_samples(path, shape)
        return split[torch.arange(len(split))]

    path = make(tmp_path / "s")
    with pytest.raises(Mistake, match=message.replace("[", r"\[")) as caught:
        load_all(path)
    assert len(str(caught.value).splitlines()) <= 2


def test_labels_of_a_dataset_json_are_read(tmp_path):
    source = folder(tmp_path / "f", images(4))
    (source / "dataset.json").write_text(json.dumps({"labels": [[f"{i:03d}.png", i % 2] for i in range(4)]}))
    split = load_samples(source, GREY)
    assert sorted(split.y.tolist()) == [0, 0, 1, 1]


def test_class_folders_keep_their_labels_if_others_are_missing(tmp_path):
    array, y = images(20), np.arange(20) % 4 + 1
    source = folder(tmp_path / "f", array, [f"{c}/{i:03d}.png" for i, c in enumerate(y)])  # class 0 has no samples
    one, two = (
        load_samples(path, GREY, class_names="01234") for path in (source, npz(tmp_path / "x.npz", arr_0=array, y=y))
    )
    for split in (one, load_samples(zipped(source), GREY, class_names="01234")):
        assert (torch.equal(split.x, two.x), torch.equal(split.y, two.y), split.classes) == (True, True, 5)


def test_a_folder_named_after_a_class_has_that_class(tmp_path):
    source = folder(tmp_path / "f", images(4), [f"3/{i:03d}.png" for i in range(4)])
    assert load_samples(source, GREY, class_names="01234").y.tolist() == [3] * 4
    assert load_samples(source, GREY, class_names="ab").y is None


@pytest.mark.parametrize(
    ("folders", "class_names", "expected"),
    [
        (["cat", "eel"], ["cat", "dog", "eel"], [0, 2]),
        (["0", "2"], ["cat", "dog", "eel"], [0, 2]),
        (["00000", "00002"], ["0", "1", "2"], [0, 2]),
        (["2", "3"], ["1", "2", "3"], [1, 2]),  # the data's own names are numbers: these are meant
        (["10", "9"], [str(i) for i in range(11)], [10, 9]),  # sorted as text, meant as numbers
        (["\N{BLACK HEART SUIT}"], ["a", "\N{BLACK HEART SUIT}"], [1]),
    ],
)
def test_a_class_folder_is_matched_by_name_then_by_number(folders, class_names, expected):
    assert labels_of_folders(folders, class_names, "there") == expected


@pytest.mark.parametrize(
    ("folders", "class_names"),
    [
        (["cat", "cow"], ["cat", "dog", "eel"]),
        (["0", "3"], ["cat", "dog", "eel"]),
        (["0"], ["1", "2"]),
        (["cat", "1"], ["cat", "dog", "eel"]),
        (["\N{SUPERSCRIPT TWO}"], ["a", "b", "c"]),
    ],
)
def test_a_class_folder_that_matches_no_class_is_refused_by_name(folders, class_names):
    with pytest.raises(Mistake, match=f"{folders[-1]} are no classes of the data, which are {class_names[0]}"):
        labels_of_folders(folders, class_names, "there")


def test_two_folders_of_one_class_are_refused():
    with pytest.raises(Mistake, match="one class of the data: merge them"):
        labels_of_folders(["01", "1"], ["a", "b"], "there")


def test_labels_beyond_the_classes_of_the_data_are_refused(tmp_path):
    path = npz(tmp_path / "x.npz", arr_0=images(4), y=np.array([0, 1, 2, 3]))
    with pytest.raises(Mistake, match="labelled 0 to 3, and the data have 3 classes, 0 to 2"):
        load_samples(path, GREY, class_names="abc")
