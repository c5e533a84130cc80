import json
import multiprocessing
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.data import image_file as picture_module
from saddlepoint.data import listing as listing_module
from saddlepoint.data.facts import read_image_facts
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.data.listing import list_files
from saddlepoint.error import Mistake

CIFAR = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cifar10-train.zip"
SPLITS = ("train", "validation", "test")


def noise(seed, height=6, width=6, channels=3):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values if channels > 1 else values[..., 0]


def saved(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """30 images of 6x6, ten in each of three class folders."""
    for i in range(30):
        saved(tmp_path / "images" / "cab"[i % 3] / f"{i:02}.png", noise(i))
    (tmp_path / "images" / "readme.txt").write_text("not an image")
    return tmp_path / "images"


def packed(folder, prefix="", to="images.zip"):
    path = folder.parent / to
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def content(data):
    return {name: (data.split(name).sha256, len(data.split(name))) for name in SPLITS}


def rows(split):
    batches = list(split.batches(7))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_the_images_and_classes_are_those_of_the_files(folder):
    data = ImageFolder(folder)
    assert data.shape == (3, 6, 6)
    assert data.classes == 3
    contents = {}
    for name in SPLITS:
        x, y = rows(data.split(name))
        for image, label in zip(x, y.tolist(), strict=True):
            contents[image.permute(1, 2, 0).numpy().tobytes()] = label
    assert contents == {noise(i).tobytes(): "abc".index("cab"[i % 3]) for i in range(30)}


def test_the_split_depends_on_the_names_only(folder):
    data = ImageFolder(folder, validation=0.2, test=0.1, seed=1)
    assert data.describe()["sizes"] == {"train": 21, "validation": 6, "test": 3}
    assert data.describe() == ImageFolder(folder, validation=0.2, test=0.1, seed=2, batch=3).describe()
    names = sorted((f"{'cab'[i % 3]}/{i:02}.png" for i in range(30)), key=lambda n: sha256(n.encode()).digest())
    expected = [noise(int(name[2:4])).tobytes() for name in names]
    stored = [x.permute(1, 2, 0).numpy().tobytes() for name in reversed(SPLITS) for x in data.split(name).x]
    assert stored == expected
    assert ImageFolder(folder, validation=0, test=0).describe()["sizes"] == {"train": 28, "validation": 1, "test": 1}


def test_folder_zip_and_dataset_json_give_the_same_data(folder):
    plain = content(ImageFolder(folder))
    assert content(ImageFolder(packed(folder))) == plain
    assert content(ImageFolder(packed(folder, "images/"))) == plain  # a zip of one folder
    assert content(ImageFolder(folder.parent / "images")) == plain
    labels = [[f"{c}/{i:02}.png", "abc".index(c)] for i in range(30) for c in "cab"[i % 3]]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert content(ImageFolder(folder)) == plain
    assert content(ImageFolder(packed(folder))) == plain
    assert content(ImageFolder(packed(folder, "images/"))) == plain


def test_a_dataset_json_overrides_the_folders(folder):
    labels = {f"{'cab'[i % 3]}/{i:02}.png": i % 7 for i in range(30)}
    (folder / "dataset.json").write_text(json.dumps({"labels": list(labels.items())}))
    assert ImageFolder(folder).classes == 7
    (folder / "dataset.json").write_text(json.dumps({"labels": None}))
    data = ImageFolder(folder)
    assert data.classes is None
    assert next(data.training_batches()).y is None


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("zipped", [False, True])
def test_streaming_from_disk_equals_memory(folder, workers, zipped):
    location = packed(folder) if zipped else folder
    options = {"folder": location, "seed": 4, "batch": 10, "size": 5}
    memory, disk = ImageFolder(**options), ImageFolder(**options, memory=0, workers=workers)
    assert not disk.split("train").in_memory
    assert memory.split("train").in_memory
    before = torch.get_rng_state()
    streams = memory.training_batches(17), disk.training_batches(17)
    for from_memory, from_disk in islice(zip(*streams, strict=True), 6):  # crosses epochs: train holds 24
        assert from_memory.x.equal(from_disk.x)
        assert from_memory.y.equal(from_disk.y)
        assert from_disk.x.dtype == torch.float32
    streams[1].close()
    assert torch.get_rng_state().equal(before)
    assert disk.describe()["sha256"] == dict.fromkeys(SPLITS)
    assert content(disk) == content(memory)
    assert disk.describe() == memory.describe()


def test_each_process_opens_the_zip_separately(folder, monkeypatch):
    files = list_files(packed(folder))
    archive = files.archive
    assert files.archive is archive
    assert pickle.loads(pickle.dumps(files)).archive is not archive  # a process that was spawned
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert files.archive is not archive  # a process that was forked


@pytest.mark.parametrize("memory", [0, 2**30])
def test_the_split_all_does_not_depend_on_fractions_or_memory(folder, memory):
    cuts = ({}, {"validation": 0.3, "test": 0.3}, {"validation": 0, "test": 0.2})
    splits = [ImageFolder(folder, memory=memory, workers=0, **cut).split("all") for cut in cuts]
    assert len({reference.sha256 for reference in splits}) == 1
    assert len(splits[0]) == len(list_files(folder).names)
    assert splits[0].in_memory == bool(memory)


def test_memory_decides_between_memory_and_disk(folder):
    size = 30 * 3 * 6 * 6
    assert ImageFolder(folder, memory=size).split("train").in_memory
    assert not ImageFolder(folder, memory=size - 1, workers=0).split("train").in_memory


def test_the_central_square_is_cropped_and_resized(tmp_path):
    wide = noise(0, height=8, width=14)
    for i in range(3):
        saved(tmp_path / f"{i}.png", wide)
    x = ImageFolder(tmp_path, size=8).split("train").x[0]
    assert x.permute(1, 2, 0).numpy().tolist() == wide[:, 3:11].tolist()
    for i in range(3):
        saved(tmp_path / "tall" / f"{i}.png", wide.transpose(1, 0, 2))
    x = ImageFolder(tmp_path / "tall", size=8).split("train").x[0]
    assert x.permute(2, 1, 0).numpy().tolist() == wide[:, 3:11].tolist()
    shutil.rmtree(tmp_path / "tall")
    x = ImageFolder(tmp_path, size=4).split("train").x[0]
    expected = Image.fromarray(wide[:, 3:11]).resize((4, 4), Image.Resampling.LANCZOS)
    assert x.permute(1, 2, 0).numpy().tolist() == np.asarray(expected).tolist()
    fine = np.indices((64, 64)).sum(0) % 2 * 255  # a chessboard of single pixels is grey from afar: antialiased
    for i in range(3):
        saved(tmp_path / f"{i}.png", fine.astype(np.uint8))
    x = ImageFolder(tmp_path, size=8, channels=1).split("train").x[0]
    assert (x[:, 2:-2, 2:-2].float() - 127.5).abs().max() <= 2


def test_channels_are_converted_as_documented(tmp_path):
    colour, grey = noise(0), noise(1, channels=1)
    glass = np.dstack([colour, np.zeros((6, 6), np.uint8)])
    for i, pixels in enumerate((colour, grey, glass)):
        saved(tmp_path / f"{i}.png", pixels)
    contents = {}
    for channels in (1, 3):
        data = ImageFolder(tmp_path, channels=channels)
        assert data.shape == (channels, 6, 6)
        contents[channels] = {s.x[0].permute(1, 2, 0).numpy().tobytes() for s in map(data.split, SPLITS)}
    luma = (colour.astype(int) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16  # ITU-R 601-2
    assert contents[1] == {luma.astype(np.uint8).tobytes(), grey.tobytes(), bytes([255] * 36)}
    assert contents[3] == {colour.tobytes(), grey[..., None].repeat(3, 2).tobytes(), bytes([255] * 108)}


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lay on its side
    for i in range(3):
        saved(tmp_path / f"{i}.png", noise(0), exif=exif)
    x = ImageFolder(tmp_path).split("train").x[0]
    assert x.permute(1, 2, 0).numpy().tolist() == np.rot90(noise(0), -1).tolist()


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "JPG", "jfif", "jpe", "bmp", "webp", "tif", "TIFF"])
def test_every_documented_kind_of_file_is_read(tmp_path, suffix):
    for i in range(3):
        jpeg = {"format": "JPEG"} if suffix in ("jfif", "jpe") else {}
        saved(tmp_path / f"{i}.{suffix}", np.full((6, 6, 3), 100, np.uint8), **jpeg)
    x = ImageFolder(tmp_path).split("train").x
    assert (x.int() - 100).abs().max() <= 2


def test_reading_the_facts_imports_no_torch(folder):
    code = (
        "import sys; from saddlepoint.data import facts; print(facts.read_image_facts(sys.argv[1], None, 3)[0]);"
        "assert not {'torch', 'numpy', 'pytorch_lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'shape': [3, 6, 6], 'classes': 3}"
    assert read_image_facts(folder, 4, 1)[0] == {"shape": [1, 4, 4], "classes": 3}


def test_the_facts_are_checked_and_the_extractor_follows_them(folder, tmp_path):
    described, _ = read_image_facts(folder)
    data = ImageFolder(folder, **described)
    data.setup()
    assert data.extractor == "trained"
    assert ImageFolder(folder, extractor="identity").extractor == "identity"
    with pytest.raises(Mistake, match=r"data\.shape=\[3,6,6\] data\.classes=4.*data\.classes=3"):
        ImageFolder(folder, shape=[3, 6, 6], classes=4).setup()
    with pytest.raises(Mistake, match=r"data\.shape=\[3,5,5\].*data\.shape=\[3,6,6\]"):
        ImageFolder(folder, shape=[3, 5, 5], classes=3).setup()
    for i in range(3):
        saved(tmp_path / "flat" / f"{i}.png", noise(i))
    assert ImageFolder(tmp_path / "flat").extractor == "nearest"


def test_hidden_files_and_macos_files_are_skipped(folder):
    before = content(ImageFolder(folder))
    saved(folder / "a" / "._1.png", noise(99))
    saved(folder / "__MACOSX" / "1.png", noise(99))
    saved(folder / ".trash" / "1.png", noise(99))
    assert content(ImageFolder(folder)) == before
    assert content(ImageFolder(packed(folder))) == before


def test_linked_class_folders_are_followed_and_circular_links_are_not(folder, tmp_path):
    before = content(ImageFolder(folder))
    shutil.move(folder / "a", tmp_path / "elsewhere")
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    (folder / "b" / "circle").symlink_to(folder)
    assert content(ImageFolder(folder)) == before


def refusal_message(*arguments, **options):
    with pytest.raises(Mistake) as caught:
        ImageFolder(*arguments, **options).setup()
    message = str(caught.value)
    assert message.count("\n") <= 1
    return message


def test_a_missing_or_empty_folder_is_refused_by_name(tmp_path):
    assert "data.folder=<a folder or .zip of images>" in refusal_message(None)
    assert f"{tmp_path}/none: no such folder or zip" in refusal_message(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path}/empty holds no images" in refusal_message(tmp_path / "empty")
    assert f"{tmp_path}/empty.zip holds no images" in refusal_message(packed(tmp_path / "empty", to="empty.zip"))
    (tmp_path / "bad.zip").write_bytes(b"PK not really")
    assert "bad.zip is neither a folder nor a readable zip" in refusal_message(tmp_path / "bad.zip")


def test_images_of_mixed_sizes_are_refused_with_a_remedy(folder):
    saved(folder / "b" / "odd.png", noise(0, 9, 7))
    for options in ({}, {"memory": 0, "workers": 0}):
        message = refusal_message(folder, **options)
        assert f"{folder}/a/01.png is 6x6, {folder}/b/odd.png is 7x9" in message
        assert "data.size=6" in message
    assert ImageFolder(folder, size=6).describe()["sizes"]["train"] == 25


def test_rectangular_images_of_one_size_are_read_unchanged(tmp_path):
    for i in range(3):
        saved(tmp_path / f"{i}.png", noise(i, 9, 7))
    data = ImageFolder(tmp_path)
    assert data.shape == (3, 9, 7)
    stored = {x.permute(1, 2, 0).numpy().tobytes() for name in SPLITS for x in data.split(name).x}
    assert stored == {noise(i, 9, 7).tobytes() for i in range(3)}
    for options in ({}, {"memory": 0, "workers": 0}):
        saved(tmp_path / "9.png", noise(9, 7, 9))
        message = refusal_message(tmp_path, **options)
        assert f"{tmp_path}/0.png is 7x9, {tmp_path}/9.png is 9x7" in message
        assert "Set data.size=7" in message


@pytest.mark.parametrize("size", [(4, 6), (6, 4), (5, 5), (9, 7), (18, 14)])
def test_images_are_cropped_to_the_centre_or_padded_to_any_size(tmp_path, size):
    pixels = noise(0, 9, 7)
    for i in range(3):
        saved(tmp_path / f"{i}.png", pixels)
    cropped = ImageFolder(tmp_path, size=size).split("train").x[0].permute(1, 2, 0).numpy()
    padded = ImageFolder(tmp_path, size=list(size), fit="pad").split("train").x[0].permute(1, 2, 0).numpy()
    tall, wide = size
    assert cropped.shape == padded.shape == (tall, wide, 3)
    # the largest centred rectangle of that shape, in exact fractions, to the nearest pixel
    height, width = (9, round(9 * wide / tall)) if 7 * tall > 9 * wide else (round(7 * tall / wide), 7)
    top, left = (9 - height) // 2, (7 - width) // 2
    middle = Image.fromarray(pixels[top : top + height, left : left + width])
    assert cropped.tolist() == np.asarray(middle.resize((wide, tall), Image.Resampling.LANCZOS)).tolist()
    scale = min(tall / 9, wide / 7)
    inner = round(9 * scale), round(7 * scale)
    border = np.ones((tall, wide), bool)
    top, left = round((tall - inner[0]) / 2), round((wide - inner[1]) / 2)
    border[top : top + inner[0], left : left + inner[1]] = False
    assert (padded[border] == 0).all()
    reference = np.asarray(Image.fromarray(pixels).resize(inner[::-1], Image.Resampling.LANCZOS))
    assert padded[~border].tolist() == reference.reshape(-1, 3).tolist()


@pytest.mark.parametrize("size", ["32x32", 16.5, [8], [8, 8, 8], [8, 0], True, -1, [8, 8.0]])
def test_an_invalid_size_is_refused_with_its_key(folder, size):
    assert f"data.size={size}" in refusal_message(folder, size=size)
    with pytest.raises(Mistake, match=r"data\.size="):
        read_image_facts(folder, size)


def test_alpha_can_be_kept_as_a_channel(tmp_path):
    colour, grey = noise(0), noise(1, channels=1)
    glass, smoke = noise(2, channels=4), noise(3, channels=4)[..., :2]
    for i, pixels in enumerate((colour, grey, glass, smoke)):
        saved(tmp_path / f"{i}.png", pixels)
    full = np.full((6, 6, 1), 255, np.uint8)

    def luma(rgb):
        return ((rgb.astype(int) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16).astype(np.uint8)[..., None]

    def three(one):
        return np.repeat(one, 3, 2)

    clear, dark = (glass[..., :3], glass[..., 3:]), (smoke[..., :1], smoke[..., 1:])
    expected = {
        4: [(colour, full), (three(grey[..., None]), full), clear, (three(dark[0]), dark[1])],
        2: [(luma(colour), full), (grey, full), (luma(clear[0]), clear[1]), dark],
    }
    for channels, pixels in expected.items():
        data = ImageFolder(tmp_path, channels=channels)
        assert data.shape == (channels, 6, 6)
        contents = {x.permute(1, 2, 0).numpy().tobytes() for name in SPLITS for x in data.split(name).x}
        assert contents == {np.dstack(p).tobytes() for p in pixels}


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_an_array_of_any_number_of_channels_is_a_data_set(tmp_path, channels, ending):
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 8, channels), dtype=np.uint8)
    y = np.arange(40) % 4
    location = tmp_path / f"x.{ending}"
    if ending == "npz":
        np.savez(location, x=x.transpose(0, 3, 1, 2), y=y)
    else:
        np.save(location, x)
    assert read_image_facts(location, None, channels)[0] == {
        "shape": [channels, 6, 8],
        "classes": 4 if ending == "npz" else None,
    }
    data = ImageFolder(location, channels=channels)
    assert data.describe()["sizes"] == {"train": 32, "validation": 4, "test": 4}
    order = sorted(range(40), key=lambda i: sha256(str(i).encode()).digest())
    stored = torch.cat([data.split(name).x for name in reversed(SPLITS)])
    assert stored.permute(0, 2, 3, 1).numpy().tolist() == x[order].tolist()
    if ending == "npz":
        assert torch.cat([data.split(name).y for name in reversed(SPLITS)]).tolist() == y[order].tolist()
    assert next(data.training_batches()).x.shape == (64, channels, 6, 8)
    assert f"data.channels=7: set data.channels={min(channels, 6)}" in refusal_message(location, channels=7)
    assert "data.size=4: image files can be resized, arrays cannot" in refusal_message(
        location, channels=channels, size=4
    )


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scribble(path):
    path.write_bytes(b"no image at all")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("spoil", [cut, scribble])
@pytest.mark.parametrize("location", ["a/01.png", "c/27.png"])
def test_an_unreadable_image_is_refused_by_name(folder, zipped, spoil, location):
    spoil(folder / location)
    message = refusal_message(packed(folder) if zipped else folder)
    assert f"{':' if zipped else '/'}{location} cannot be read" in message
    assert "Replace or remove it" in message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_in_a_worker_gives_a_message_of_one_line(folder, workers):
    cut(folder / "c" / "27.png")
    data = ImageFolder(folder, size=6, memory=0, workers=workers)
    with pytest.raises(Mistake, match=r"^[^\n]*c/27\.png cannot be read: [^\n]*$"):
        content(data)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_workers_ignore_signals_so_that_the_run_can_finish_its_round(folder, number):
    rows = ImageFolder(folder, size=6, memory=0, workers=1, batch=4).training_batches()
    next(rows)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, number)
    assert len([batch for batch, _ in zip(rows, range(20), strict=False)]) == 20  # more than was decoded ahead
    assert worker.is_alive()


def test_a_damaged_zip_is_refused_with_the_member(folder):
    path = packed(folder)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("b/02.png")
    with path.open("r+b") as file:
        file.seek(member.header_offset + 30 + len(member.filename) + member.file_size // 2)
        file.write(b"\0\1\2\3")
    assert "images.zip:b/02.png cannot be read" in refusal_message(path)


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/tmp/out.png"])
def test_a_zip_member_that_points_outside_is_refused(folder, name):
    path = packed(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(folder / "a" / "01.png", "placeholder")
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist[-1].filename = name
        archive._didModify = True
    assert repr(name) in refusal_message(path)
    assert not (folder.parent / "out.png").exists()


def test_files_that_are_too_large_are_refused(folder, monkeypatch):
    path = packed(folder)
    monkeypatch.setattr(listing_module, "MAX_BYTES", 50)
    for location in (folder, path):
        assert "a/01.png has " in refusal_message(location)
    monkeypatch.undo()
    monkeypatch.setattr(picture_module, "MAX_PIXELS", 35)
    for location in (folder, path):
        assert "6x6 pixels are more than 35" in refusal_message(location)


def test_a_small_file_with_too_many_pixels_is_refused_before_decoding(tmp_path):
    for i in range(3):
        Image.new("L", (8, 8)).save(tmp_path / f"{i}.png")
    image = bytearray((tmp_path / "1.png").read_bytes())
    image[16:24] = struct.pack(">II", 60_000, 60_000)
    image[29:33] = struct.pack(">I", zlib.crc32(image[12:29]))
    (tmp_path / "1.png").write_bytes(image)
    assert "1.png cannot be read" in refusal_message(tmp_path, size=8)


def test_sixteen_bits_are_refused_and_not_clipped(tmp_path):
    for i in range(3):
        Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(tmp_path / f"{i}.png")
    assert "more than 8 bits" in refusal_message(tmp_path, channels=1)


def test_ambiguous_class_folders_are_refused(folder):
    saved(folder / "lost.png", noise(0))
    assert f"{folder}/lost.png is beside class folders" in refusal_message(folder)
    (folder / "lost.png").unlink()
    saved(folder / "b" / "deep" / "1.png", noise(0))
    assert f"{folder}/b/deep/1.png is two folders deep" in refusal_message(folder)


@pytest.mark.parametrize(
    ("labels_json", "expected"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"labels": [1, 2]}', "cannot be read"),
        ('{"labels": [["a/01.png", 0]]}', "has no label for a/04.png"),
        (0.5, "labels a/01.png 0.5: a label must be an integer"),
        (-1, "labels a/01.png -1: a label must be an integer"),
        ("more", "labels 1 missing images, such as z.png"),
    ],
)
def test_an_invalid_dataset_json_is_refused_by_name(folder, labels_json, expected):
    labels = {f"{'cab'[i % 3]}/{i:02}.png": 0 for i in range(30)}
    if isinstance(labels_json, float | int):
        labels["a/01.png"] = labels_json
    if labels_json == "more":
        labels["z.png"] = 0
    text = labels_json if str(labels_json)[0] in "{[" else json.dumps({"labels": list(labels.items())})
    (folder / "dataset.json").write_text(text)
    for location in (folder, packed(folder)):
        message = refusal_message(location)
        assert "dataset.json" in message
        assert expected in message


def test_too_few_images_and_bad_numbers_are_refused(folder, tmp_path):
    for i in range(2):
        saved(tmp_path / "two" / f"{i}.png", noise(i))
    assert "2 images are too few" in refusal_message(tmp_path / "two")
    assert "data.channels=5: image files have 1 (grey)" in refusal_message(folder, channels=5)
    assert "data.fit=stretch: choose one of crop, pad" in refusal_message(folder, size=4, fit="stretch")
    assert "must be at least 0, with a sum below 1" in refusal_message(folder, validation=0.5, test=0.5)
    assert "must be at least 0, with a sum below 1" in refusal_message(folder, validation=-0.1)
    assert "data.size=0" in refusal_message(folder, size=0)


@pytest.mark.skipif(not CIFAR.is_file(), reason=f"no {CIFAR}: set SADDLEPOINT_DATA")
def test_a_zip_of_fifty_thousand_images_is_streamed_without_unpacking():
    assert read_image_facts(CIFAR)[0] == {"shape": [3, 32, 32], "classes": 10}
    data = ImageFolder(CIFAR, size=32, memory=0, workers=0, batch=20)
    batch = next(data.training_batches(39_990))
    assert data.describe()["sizes"] == {"train": 40_000, "validation": 5_000, "test": 5_000}
    assert batch.x.shape == (20, 3, 32, 32)
    assert -1 <= batch.x.min() < batch.x.max() <= 1
    assert set(batch.y.tolist()) <= set(range(10))
