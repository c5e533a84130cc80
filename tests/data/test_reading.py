"""Files that are skipped, converted or reinterpreted are counted in a note, or refused with a message."""

import json
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.data.samples import load_samples
from saddlepoint.error import Mistake

SPLITS = ("train", "validation", "test")


def noise(seed, channels=3, side=6):
    values = np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8)
    return values if channels > 1 else values[..., 0]


def pngs(path, n=12, channels=3):
    path.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(noise(i, channels)).save(path / f"{i:02}.png")
    return path


def packed(folder, names=None):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for i, file in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
            archive.write(file, names[i] if names else file.relative_to(folder).as_posix())
    return path


def notes(path, **options):
    """The notes on data in memory; checks that data on disk and samples have the same notes."""
    data = ImageFolder(path, **options)
    data.setup()
    disk = ImageFolder(path, **options, memory=0, workers=0)
    disk.setup()
    assert sorted(disk.notes) == sorted(data.notes)
    if options.get("size") is None:
        messages = []
        load_samples(path, data.shape, messages.append)
        assert sorted(messages) == sorted(data.notes)
    return data.notes


def refusal_message(path, **options):
    with pytest.raises(Mistake) as caught:
        ImageFolder(path, **options).setup()
    assert str(caught.value).count("\n") <= 1
    return str(caught.value)


def png16(path, channels):
    """A PNG of 16 bits per channel: 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + noise(i, 2 * channels)[0].tobytes() for i in range(6))

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 6, 6, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def tiff16(path, deflate):
    """An RGB TIFF of 16 bits per channel, 6x6, in one strip."""
    content = noise(0, 6).tobytes()
    strip = zlib.compress(content) if deflate else content
    tags = [(256, 6), (257, 6), (258, 0), (259, 8 if deflate else 1), (262, 2), (273, 8), (277, 3), (278, 6),
            (279, len(strip))]  # fmt: skip
    after = 8 + len(strip)
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) if tag != 258 else struct.pack("<HHII", tag, 3, 3, after)
        for tag, value in tags
    )
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", after + 6) + strip + struct.pack("<HHH", 16, 16, 16) + directory)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("expected", [1, 3])
@pytest.mark.parametrize("size", [None, 4])
def test_a_png_of_sixteen_bits_is_refused_for_any_channels(tmp_path, channels, expected, size):
    path = pngs(tmp_path / "x")
    png16(path / "05.png", channels)
    for location in (path, packed(path)):
        for options in ({}, {"memory": 0, "workers": 0}):
            messages = refusal_message(location, channels=expected, size=size, **options)
            assert "05.png cannot be read: its pixels have more than 8 bits" in messages
    with pytest.raises(Mistake, match="more than 8 bits"):
        load_samples(path, (expected, 6, 6))


@pytest.mark.parametrize("deflate", [False, True])
def test_a_colour_tiff_of_sixteen_bits_is_refused(tmp_path, deflate):
    path = pngs(tmp_path / "x")
    tiff16(path / "05.tif", deflate)
    with Image.open(path / "05.tif") as image:
        assert (image.mode, image.size, image.tag_v2[258]) == ("RGB", (6, 6), (16, 16, 16))
    assert "05.tif cannot be read: its pixels have more than 8 bits" in refusal_message(path)


def test_a_tiff_of_floats_is_refused(tmp_path):
    path = pngs(tmp_path / "x")
    Image.fromarray(np.full((6, 6), 0.5, np.float32)).save(path / "05.tif")
    assert "05.tif cannot be read: its pixels have more than 8 bits" in refusal_message(path)


def test_the_files_and_the_skipped_files_are_summarised_in_one_line(tmp_path):
    path = pngs(tmp_path / "x")
    for i in range(12):
        for suffix, form in ((".tif", "TIFF"), (".gif", "GIF"), (".jfif", "JPEG")):
            Image.fromarray(noise(i)).save(path / f"{i:02}{suffix}", form)
    (path / "readme.txt").write_text("no image")
    (path / "LICENSE").write_text("no image")
    (path / ".hidden.png").write_text("no image")
    (path / "__MACOSX").mkdir()
    (path / "__MACOSX" / "1.png").write_text("no image")
    for location in (path, packed(path)):
        assert notes(location) == [
            f"{location}: 36 images (12 .jfif, 12 .png, 12 .tif), no classes; left out: 12 .gif, 1 .txt, 1 hidden, "
            "1 of __MACOSX, 1 without an ending."
        ]
        assert ImageFolder(location).describe()["sizes"] == {"train": 28, "validation": 4, "test": 4}


def test_a_folder_without_images_is_refused_with_its_contents(tmp_path):
    path = tmp_path / "x"
    path.mkdir()
    for i in range(3):
        Image.fromarray(noise(i)).save(path / f"{i}.gif")
    assert "It has 3 .gif." in refusal_message(path)


def test_a_class_folder_without_images_is_noted(tmp_path):
    for name in ("a", "b"):
        pngs(tmp_path / "x" / name, 4)
    (tmp_path / "x" / "c").mkdir()
    Image.fromarray(noise(0)).save(tmp_path / "x" / "c" / "0.gif")
    (tmp_path / "x" / "d").mkdir()
    messages = notes(tmp_path / "x")
    assert "2 classes by folder; left out: 1 .gif" in messages[0]
    assert "no images in the 2 folders c, d, so no class of that name" in messages[1]
    assert "no images in the folder c, so no class" in notes(packed(tmp_path / "x"))[1]  # a zip need not list folders
    pngs(tmp_path / "y" / "Cat", 3)
    pngs(tmp_path / "y" / "cat", 3)
    assert "the names of the classes Cat and cat differ by case only" in notes(tmp_path / "y")[1]
    pngs(tmp_path / "z" / "only", 3)
    (tmp_path / "z" / "gone").mkdir()
    messages = notes(tmp_path / "z")
    assert "no classes" in messages[0]
    assert "no images in the folder gone" in messages[1]


def cmyk(i):
    return Image.fromarray(noise(i)).convert("CMYK"), "jpg", {}


def palette(i):
    image = Image.fromarray(noise(i)).quantize(8)
    return image, "png", {"transparency": 0}


def lying(i):
    exif = Image.Exif()
    exif[0x0112] = 6
    return Image.fromarray(noise(i)), "jpg", {"exif": exif}


def moving(suffix):
    def make(i):
        frames = [Image.fromarray(noise(100 * i + j)) for j in range(3)]
        return frames[0], suffix, {"save_all": True, "append_images": frames[1:]}

    return make


def bilevel(i):
    return Image.fromarray(noise(i)).convert("1"), "png", {}


def profiled(i):
    return (
        Image.fromarray(noise(i)),
        "png",
        {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()},
    )


def standard(i):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return Image.fromarray(noise(i)), "jpg", {"icc_profile": profile}


@pytest.mark.parametrize(
    ("make", "options", "lines"),
    [
        (cmyk, {}, ["CMYK images are converted to RGB"]),
        (cmyk, {"channels": 1}, ["CMYK images are converted to grey", "turned into grey"]),
        (palette, {}, ["palette images are converted to RGB", "transparent parts are laid over white"]),
        (lying, {}, ["turned upright, by their EXIF orientation"]),
        (moving("png"), {}, ["several frames or pages: the first is read"]),
        (moving("webp"), {}, ["several frames or pages: the first is read"]),
        (moving("tif"), {}, ["several frames or pages: the first is read"]),
        (bilevel, {}, ["1-bit images become 0 and 255", "grey images get three equal channels"]),
        (profiled, {}, ["an embedded colour profile other than sRGB is not applied"]),
        (standard, {}, []),
        (lambda i: (Image.fromarray(noise(i, 4)), "tif", {}), {}, ["transparent parts are laid over white"]),
        (lambda i: (Image.fromarray(noise(i)), "png", {}), {"channels": 4}, ["opaque images get an alpha of 255"]),
        (lambda i: (Image.fromarray(noise(i)), "png", {}), {"size": 4}, ["reduced to 4x4"]),
        (lambda i: (Image.fromarray(noise(i)), "png", {}), {"size": 8}, ["enlarged to 8x8"]),
        (lambda i: (Image.fromarray(noise(i)), "png", {}), {"size": [4, 8]}, ["to the middle, enlarged to 8x4"]),
        (lambda i: (Image.fromarray(noise(i)), "png", {}), {"size": [4, 8], "fit": "pad"}, ["padded, reduced to 8x4"]),
    ],
)  # fmt: skip
def test_changes_to_images_are_counted(tmp_path, make, options, lines):
    # four of them among eight plain ones
    path = pngs(tmp_path / "x", 8, options.get("channels", 3))
    for i in range(4):
        image, suffix, how = make(i)
        image.save(path / f"z{i}.{suffix}", **how)
    messages = notes(path, **options)[1:]
    number = 12 if options.keys() & {"size", "channels"} and options.get("channels") != 1 else 4
    for line in lines:
        matches = [message for message in messages if line in message]
        if line == "turned into grey":
            assert not matches  # the CMYK line says it
            continue
        assert len(matches) == 1, (line, messages)
        n = 4 if "alpha" in line else number
        assert f" {n} of 12: " in matches[0], matches
    assert len(messages) == len([line for line in lines if line != "turned into grey"]), messages


def test_only_the_first_frame_is_read(tmp_path):
    path = tmp_path / "x"
    path.mkdir()
    for i in range(3):
        image, suffix, how = moving("tif")(i)
        image.save(path / f"{i}.{suffix}", **how)
    data = ImageFolder(path)
    matches = {x.permute(1, 2, 0).numpy().tobytes() for name in SPLITS for x in data.split(name).x}
    assert matches == {noise(100 * i).tobytes() for i in range(3)}


def test_images_with_an_exif_rotation_have_their_upright_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "tif", "webp"):
        path = tmp_path / suffix
        path.mkdir()
        for i in range(4):
            Image.fromarray(pixels).save(path / f"{i}.{suffix}", exif=exif)
        data = ImageFolder(path)
        data.setup()
        assert data.shape == (3, 9, 6), suffix
        assert ImageFolder(path, memory=0, workers=0).split("train")[torch.arange(1)][0].shape == (1, 3, 9, 6)
        if suffix in ("png", "tif"):
            assert data.split("train").x[0].permute(1, 2, 0).numpy().tolist() == np.rot90(pixels, -1).tolist()


def test_some_headers_of_a_large_set_are_checked_and_this_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr("saddlepoint.data.image_folder.MAX_PREVIEWED", 5)
    data = ImageFolder(pngs(tmp_path / "x"), size=4, memory=0, workers=0)
    data.setup()
    assert "5 of 5 checked: reduced to 4x4." in data.notes[1]


def test_workers_count_changes_like_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr("saddlepoint.data.image_folder.IMAGES_PER_WORKER", 2)
    alone, several = (ImageFolder(pngs(tmp_path / "x", 12, 1), workers=workers) for workers in (0, 2))
    alone.setup()
    several.setup()
    assert "12 of 12: grey images get three equal channels" in several.notes[1]
    assert alone.notes == several.notes


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", None])
def test_empty_and_truncated_files_are_refused_by_name(tmp_path, content):
    path = pngs(tmp_path / "x")
    png_bytes = (path / "05.png").read_bytes()
    (path / "05.png").write_bytes(png_bytes[: len(png_bytes) - 30] if content is None else content)
    for location in (path, packed(path)):
        messages = refusal_message(location)
        assert "05.png cannot be read: " in messages
        assert "<" not in messages  # no object of Python's


def test_a_pipe_with_the_suffix_of_an_image_is_refused(tmp_path):
    path = pngs(tmp_path / "x")
    os.mkfifo(path / "05.png.jpg")
    assert "05.png.jpg is not a regular file" in refusal_message(path)


def test_an_unreadable_folder_is_refused_by_name(tmp_path, monkeypatch):
    folder = pngs(tmp_path / "x" / "a").parent
    pngs(folder / "b")
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert f"{folder}/b cannot be read: Permission denied" in refusal_message(folder)


def test_names_with_any_bytes_are_read_and_printed(tmp_path):
    path = tmp_path / "x"
    path.mkdir()
    names = [b"a\xff.png", b"caf\xc3\xa9.png", b"\xe9t\xe9.png", b"b.png", b"c\n.png"]
    for i, name in enumerate(names):
        Image.fromarray(noise(i)).save(path / "0.png")
        os.rename(path / "0.png", os.path.join(os.fsencode(path), name))
    data = ImageFolder(path)
    order = sorted(range(5), key=lambda i: sha256(names[i]).digest())
    stored = [x.permute(1, 2, 0).numpy().tobytes() for name in reversed(SPLITS) for x in data.split(name).x]
    assert stored == [noise(i).tobytes() for i in order]
    with open(os.path.join(os.fsencode(path), b"a\xff.png"), "wb") as file:
        file.write(b"no image")
    messages = refusal_message(path)
    assert messages.encode()  # can be printed
    assert "a\\xff.png cannot be read" in messages


def test_names_are_the_same_in_every_locale(tmp_path):
    path = tmp_path / "x"
    path.mkdir()
    for i in range(12):
        Image.fromarray(noise(i)).save(path / f"é{i}.png")
    code = (
        "import sys; from saddlepoint.data import facts, listing; files = listing.list_files(sys.argv[1]);"
        "print([listing.encode_name(name) for name in files.names], facts.read_image_facts(sys.argv[1])[0]);"
        "print(ascii(files.location(files.names[0])))"
    )

    def output(locale, utf8):
        environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
        command = [sys.executable, "-c", code, os.fsencode(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert output("C", "0") == output("C.UTF-8", "1")  # ASCII; and UTF-8
    assert str([f"é{i}.png".encode() for i in sorted(range(12), key=str)]) in output("C", "0")


def test_a_zip_written_on_windows_has_folders(tmp_path):
    for name in ("a", "b"):
        pngs(tmp_path / "x" / name, 6)
    plain = ImageFolder(tmp_path / "x").describe()
    names = [f"{c}\\{i:02}.png" for c in "ab" for i in range(6)]
    path = packed(tmp_path / "x", names)
    assert ImageFolder(path).describe()["sha256"] == plain["sha256"]
    assert ImageFolder(path).classes == 2
    assert "12 names with backslashes: read as folders" in notes(path)[1]
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / "x" / "a" / "00.png", "a/00.png")
    assert "is in it twice" in refusal_message(path)


def test_names_in_a_zip_without_a_stated_encoding_are_counted(tmp_path):
    path = packed(pngs(tmp_path / "x"), [f"caf-{i:02}.png" for i in range(12)])
    content = path.read_bytes().replace(b"caf-", b"caf\xe9")
    path.write_bytes(content)
    assert "12 names without a stated encoding: read as cp437" in notes(path)[1]
    assert ImageFolder(path).describe()["sizes"]["train"] == 10


def test_a_zip_whose_names_are_wrongly_flagged_as_utf8_is_refused(tmp_path):
    path = packed(pngs(tmp_path / "x"), [f"caf\N{LATIN SMALL LETTER E WITH ACUTE}{i:02}.png" for i in range(12)])
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    assert "neither a folder nor a readable zip" in refusal_message(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_repeated_name_in_a_zip_is_counted(tmp_path):
    path = packed(pngs(tmp_path / "x"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / "x" / "01.png", "00.png")
    assert "12 images" in notes(path)[0]
    assert "1 repeated names: the last member of each is read" in notes(path)[1]


def test_a_zip_with_images_beside_class_folders_is_refused(tmp_path):
    pngs(tmp_path / "x" / "a", 4)
    pngs(tmp_path / "x", 4)
    assert "is beside class folders" in refusal_message(packed(tmp_path / "x"))


def test_a_dataset_json_in_another_folder_is_skipped_and_counted(tmp_path):
    for name in ("a", "b"):
        pngs(tmp_path / "x" / name, 4)
    (tmp_path / "x" / "b" / "dataset.json").write_text(json.dumps({"labels": None}))
    assert "2 classes by folder; left out: 1 .json" in notes(tmp_path / "x")[0]
    (tmp_path / "x" / "dataset.json").write_text(json.dumps({"labels": None}))
    assert "8 images (8 .png), no classes; left out: 1 .json" in notes(tmp_path / "x")[0]


# ------------------------------------------------------------------------------------------------------- arrays

X = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)


def save_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def load_with_log(path, shape=(3, 6, 6)):
    messages = []
    return load_samples(path, shape, messages.append), messages


def test_an_npy_is_read_like_an_npz(tmp_path):
    np.save(tmp_path / "x.npy", X)
    expected, _ = load_with_log(save_npz(tmp_path / "x.npz", arr_0=X))
    split, messages = load_with_log(tmp_path / "x.npy")
    assert split.sha256 == expected.sha256
    assert messages == [f"{tmp_path}/x.npy: x, uint8 [12, 6, 6, 3], read as N, height, width, channels, no labels."]
    points = np.random.default_rng(0).normal(size=(7, 2))
    np.save(tmp_path / "points.npy", points)
    (tmp_path / "points.npy").rename(tmp_path / "points.NPY")
    split, messages = load_with_log(tmp_path / "points.NPY", (2,))
    assert split.x.tolist() == points.astype(np.float32).tolist()
    assert any("float64 rounded to float32" in line for line in messages)


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.int32, np.float32, np.float64, ">i2"])
def test_whole_numbers_of_another_dtype_are_read_and_noted(tmp_path, kind):
    split, messages = load_with_log(save_npz(tmp_path / "x.npz", arr_0=X.astype(kind)))
    assert split.x.permute(0, 2, 3, 1).numpy().tolist() == X.tolist()
    assert any("of integers from 0 to 255: read as bytes" in line for line in messages)


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (X / 255.0, r"np.round(255 * x)"),
        (X / 127.5 - 1, r"np.round(127.5 * (x + 1))"),
        (X + 0.25, "round them explicitly"),
        (X.astype(np.int64) - 128, "round them explicitly"),
        (X.astype(np.int64) * 256, "round them explicitly"),
        ((X > 127).astype(np.int64), r"np.round(255 * x)"),
        (X > 127, "images are uint8"),
        (np.where(X > 3, X, np.nan), "images are uint8"),
        (X.astype(complex), "images are uint8"),
        (X.astype(object), "an array of objects is pickled"),
        (X.astype(str), "images are uint8"),
    ],
)
def test_ambiguous_values_are_refused_with_advice(tmp_path, array, advice):
    np.savez(tmp_path / "x.npz", arr_0=array)
    for reader in (lambda p: load_samples(p, (3, 6, 6)), lambda p: ImageFolder(p).setup()):
        with pytest.raises(Mistake, match=re.escape(advice)) as caught:
            reader(tmp_path / "x.npz")
        assert str(caught.value).count("\n") <= 1


def test_bytes_of_0_and_1_are_read_with_a_warning(tmp_path):
    _, messages = load_with_log(save_npz(tmp_path / "x.npz", arr_0=(X > 127).astype(np.uint8)))
    assert any("no value is above 1, of 255" in line for line in messages)


Y = np.arange(12) % 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Y, None),
        (Y.astype(np.uint8), None),
        (Y[:, None], "labels [12, 1] read as [12]"),
        (np.eye(3)[Y], "one-hot: read as the index of the 1"),
        (np.eye(3, dtype=bool)[Y], "one-hot: read as the index of the 1"),
        (Y.astype(np.float32), "labels of float32 read as integers"),
    ],
)
@pytest.mark.parametrize("name", ["y", "labels", "arr_1"])
def test_labels_in_several_forms_are_read_and_noted(tmp_path, labels, message, name):
    expected, _ = load_with_log(save_npz(tmp_path / "plain.npz", arr_0=X, y=Y))
    split, messages = load_with_log(save_npz(tmp_path / "x.npz", arr_0=X, **{name: labels}))
    assert split.y.tolist() == expected.y.tolist()
    assert split.sha256 == expected.sha256
    assert f"labels {name} (3 classes)" in messages[0]
    assert len(messages) == (1 if message is None else 2)
    assert message is None or message in messages[1]
    assert ImageFolder(tmp_path / "x.npz").classes == 3


@pytest.mark.parametrize(
    "labels",
    [
        Y.astype(str),
        Y + 0.5,
        Y - 1,
        Y[:6],
        np.eye(3)[Y] * 2,
        np.ones((12, 3)),
        np.zeros((12, 3)),
        np.where(Y == 1, np.nan, Y),
        np.where(Y == 1, np.inf, Y),
    ],
)
def test_invalid_labels_are_refused(tmp_path, labels):
    path = save_npz(tmp_path / "x.npz", arr_0=X, y=labels)
    for reader in (lambda p: load_samples(p, (3, 6, 6)), lambda p: ImageFolder(p).setup()):
        with pytest.raises(Mistake, match="the labels are") as caught:
            reader(path)
        assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": X}, "holds a, b: one array of samples is needed"),
        ({"arr_0": X, "y": Y, "labels": Y}, "holds arr_0, y, labels"),
        ({}, "holds nothing"),
        ({"arr_0": np.uint8(3)}, "holds no samples"),
        ({"arr_0": X[:0]}, "holds no samples"),
        ({"arr_0": X[:, 0, 0]}, "[12, 3]"),
        ({"arr_0": X[None]}, "[1, 12, 6, 6, 3]"),
    ],
)
def test_arrays_that_are_not_one_set_of_images_are_refused(tmp_path, arrays, message):
    path = save_npz(tmp_path / "x.npz", **arrays)
    with pytest.raises(Mistake, match=re.escape(message)):
        load_samples(path, (3, 6, 6))
    with pytest.raises(Mistake):
        ImageFolder(path).setup()


def test_a_truncated_or_invalid_npy_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    complete = (tmp_path / "x.npy").read_bytes()
    for content in (complete[:200], complete[:20], b"", b"no array at all"):
        (tmp_path / "x.npy").write_bytes(content)
        for reader in (lambda p: load_samples(p, (3, 6, 6)), lambda p: ImageFolder(p).setup()):
            with pytest.raises(Mistake, match="cannot be read as an npy of a plain array"):
                reader(tmp_path / "x.npy")
