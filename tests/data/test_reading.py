"""Whatever reading leaves out, converts or takes for something else is counted in a line, or refused in one."""

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


def pngs(place, n=12, channels=3):
    place.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(noise(i, channels)).save(place / f"{i:02}.png")
    return place


def packed(place, names=None):
    path = place.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for i, file in enumerate(sorted(p for p in place.rglob("*") if p.is_file())):
            archive.write(file, names[i] if names else file.relative_to(place).as_posix())
    return path


def notes(place, **options):
    """What is said of data in memory; the same has to be said of data on disk, and of samples."""
    data = ImageFolder(place, **options)
    data.setup()
    disk = ImageFolder(place, **options, memory=0, workers=0)
    disk.setup()
    assert sorted(disk.notes) == sorted(data.notes)
    if options.get("size") is None:
        said = []
        load_samples(place, data.shape, said.append)
        assert sorted(said) == sorted(data.notes)
    return data.notes


def refused(place, **options):
    with pytest.raises(Mistake) as caught:
        ImageFolder(place, **options).setup()
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
@pytest.mark.parametrize("wanted", [1, 3])
@pytest.mark.parametrize("size", [None, 4])
def test_a_png_of_sixteen_bits_is_refused_whatever_its_channels(tmp_path, channels, wanted, size):
    place = pngs(tmp_path / "x")
    png16(place / "05.png", channels)
    for where in (place, packed(place)):
        for options in ({}, {"memory": 0, "workers": 0}):
            said = refused(where, channels=wanted, size=size, **options)
            assert "05.png cannot be read: its pixels have more than 8 bits" in said
    with pytest.raises(Mistake, match="more than 8 bits"):
        load_samples(place, (wanted, 6, 6))


@pytest.mark.parametrize("deflate", [False, True])
def test_a_tiff_of_sixteen_bits_is_refused_in_colour_too(tmp_path, deflate):
    place = pngs(tmp_path / "x")
    tiff16(place / "05.tif", deflate)
    with Image.open(place / "05.tif") as image:
        assert (image.mode, image.size, image.tag_v2[258]) == ("RGB", (6, 6), (16, 16, 16))
    assert "05.tif cannot be read: its pixels have more than 8 bits" in refused(place)


def test_a_tiff_of_floats_is_refused(tmp_path):
    place = pngs(tmp_path / "x")
    Image.fromarray(np.full((6, 6), 0.5, np.float32)).save(place / "05.tif")
    assert "05.tif cannot be read: its pixels have more than 8 bits" in refused(place)


def test_what_was_found_and_what_was_left_out_is_told_in_one_line(tmp_path):
    place = pngs(tmp_path / "x")
    for i in range(12):
        for suffix, form in ((".tif", "TIFF"), (".gif", "GIF"), (".jfif", "JPEG")):
            Image.fromarray(noise(i)).save(place / f"{i:02}{suffix}", form)
    (place / "readme.txt").write_text("no image")
    (place / "LICENSE").write_text("no image")
    (place / ".hidden.png").write_text("no image")
    (place / "__MACOSX").mkdir()
    (place / "__MACOSX" / "1.png").write_text("no image")
    for where in (place, packed(place)):
        assert notes(where) == [
            f"{where}: 36 images (12 .jfif, 12 .png, 12 .tif), no classes; left out: 12 .gif, 1 .txt, 1 hidden, "
            "1 of __MACOSX, 1 without an ending."
        ]
        assert ImageFolder(where).describe()["sizes"] == {"train": 28, "validation": 4, "test": 4}


def test_a_folder_of_other_files_alone_says_what_it_holds(tmp_path):
    place = tmp_path / "x"
    place.mkdir()
    for i in range(3):
        Image.fromarray(noise(i)).save(place / f"{i}.gif")
    assert "It has 3 .gif." in refused(place)


def test_a_class_folder_without_images_is_named(tmp_path):
    for name in ("a", "b"):
        pngs(tmp_path / "x" / name, 4)
    (tmp_path / "x" / "c").mkdir()
    Image.fromarray(noise(0)).save(tmp_path / "x" / "c" / "0.gif")
    (tmp_path / "x" / "d").mkdir()
    said = notes(tmp_path / "x")
    assert "2 classes by folder; left out: 1 .gif" in said[0]
    assert "no images in the 2 folders c, d, so no class of that name" in said[1]
    assert "no images in the folder c, so no class" in notes(packed(tmp_path / "x"))[1]  # a zip need not list folders
    pngs(tmp_path / "y" / "Cat", 3)
    pngs(tmp_path / "y" / "cat", 3)
    assert "the names of the classes Cat and cat differ by case only" in notes(tmp_path / "y")[1]
    pngs(tmp_path / "z" / "only", 3)
    (tmp_path / "z" / "gone").mkdir()
    said = notes(tmp_path / "z")
    assert "no classes" in said[0]
    assert "no images in the folder gone" in said[1]


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
    def made(i):
        frames = [Image.fromarray(noise(100 * i + j)) for j in range(3)]
        return frames[0], suffix, {"save_all": True, "append_images": frames[1:]}

    return made


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
def test_what_is_done_to_images_is_counted(tmp_path, make, options, lines):
    # four of them among eight plain ones
    place = pngs(tmp_path / "x", 8, options.get("channels", 3))
    for i in range(4):
        image, suffix, how = make(i)
        image.save(place / f"z{i}.{suffix}", **how)
    said = notes(place, **options)[1:]
    number = 12 if options.keys() & {"size", "channels"} and options.get("channels") != 1 else 4
    for line in lines:
        found = [one for one in said if line in one]
        if line == "turned into grey":
            assert not found  # the CMYK line says it
            continue
        assert len(found) == 1, (line, said)
        n = 4 if "alpha" in line else number
        assert f" {n} of 12: " in found[0], found
    assert len(said) == len([line for line in lines if line != "turned into grey"]), said


def test_the_first_frame_is_what_is_read(tmp_path):
    place = tmp_path / "x"
    place.mkdir()
    for i in range(3):
        image, suffix, how = moving("tif")(i)
        image.save(place / f"{i}.{suffix}", **how)
    data = ImageFolder(place)
    found = {x.permute(1, 2, 0).numpy().tobytes() for name in SPLITS for x in data.split(name).x}
    assert found == {noise(100 * i).tobytes() for i in range(3)}


def test_images_that_lie_on_their_side_have_their_upright_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "tif", "webp"):
        place = tmp_path / suffix
        place.mkdir()
        for i in range(4):
            Image.fromarray(pixels).save(place / f"{i}.{suffix}", exif=exif)
        data = ImageFolder(place)
        data.setup()
        assert data.shape == (3, 9, 6), suffix
        assert ImageFolder(place, memory=0, workers=0).split("train")[torch.arange(1)][0].shape == (1, 3, 9, 6)
        if suffix in ("png", "tif"):
            assert data.split("train").x[0].permute(1, 2, 0).numpy().tolist() == np.rot90(pixels, -1).tolist()


def test_of_a_large_set_on_disk_some_are_looked_at_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("saddlepoint.data.image_folder.MAX_PREVIEWED", 5)
    data = ImageFolder(pngs(tmp_path / "x"), size=4, memory=0, workers=0)
    data.setup()
    assert "5 of 5 checked: reduced to 4x4." in data.notes[1]


def test_workers_count_as_one_process_does(tmp_path, monkeypatch):
    monkeypatch.setattr("saddlepoint.data.image_folder.IMAGES_PER_WORKER", 2)
    alone, several = (ImageFolder(pngs(tmp_path / "x", 12, 1), workers=workers) for workers in (0, 2))
    alone.setup()
    several.setup()
    assert "12 of 12: grey images get three equal channels" in several.notes[1]
    assert alone.notes == several.notes


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", None])
def test_files_that_are_empty_or_cut_short_are_refused_by_name(tmp_path, content):
    place = pngs(tmp_path / "x")
    whole = (place / "05.png").read_bytes()
    (place / "05.png").write_bytes(whole[: len(whole) - 30] if content is None else content)
    for where in (place, packed(place)):
        said = refused(where)
        assert "05.png cannot be read: " in said
        assert "<" not in said  # no object of Python's


def test_a_pipe_that_is_called_a_picture_is_refused(tmp_path):
    place = pngs(tmp_path / "x")
    os.mkfifo(place / "05.png.jpg")
    assert "05.png.jpg is not a regular file" in refused(place)


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    place = pngs(tmp_path / "x" / "a").parent
    pngs(place / "b")
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert f"{place}/b cannot be read: Permission denied" in refused(place)


def test_names_of_any_bytes_are_read_and_told(tmp_path):
    place = tmp_path / "x"
    place.mkdir()
    names = [b"a\xff.png", b"caf\xc3\xa9.png", b"\xe9t\xe9.png", b"b.png", b"c\n.png"]
    for i, name in enumerate(names):
        Image.fromarray(noise(i)).save(place / "0.png")
        os.rename(place / "0.png", os.path.join(os.fsencode(place), name))
    data = ImageFolder(place)
    order = sorted(range(5), key=lambda i: sha256(names[i]).digest())
    stored = [x.permute(1, 2, 0).numpy().tobytes() for name in reversed(SPLITS) for x in data.split(name).x]
    assert stored == [noise(i).tobytes() for i in order]
    with open(os.path.join(os.fsencode(place), b"a\xff.png"), "wb") as file:
        file.write(b"no image")
    said = refused(place)
    assert said.encode()  # can be printed
    assert "a\\xff.png cannot be read" in said


def test_names_are_the_same_in_every_locale(tmp_path):
    place = tmp_path / "x"
    place.mkdir()
    for i in range(12):
        Image.fromarray(noise(i)).save(place / f"é{i}.png")
    code = (
        "import sys; from saddlepoint.data import facts, listing; files = listing.list_files(sys.argv[1]);"
        "print([listing.name_bytes(name) for name in files.names], facts.image_facts(sys.argv[1])[0]);"
        "print(ascii(files.location(files.names[0])))"
    )

    def told(locale, utf8):
        environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
        command = [sys.executable, "-c", code, os.fsencode(place)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert told("C", "0") == told("C.UTF-8", "1")  # ASCII; and UTF-8
    assert str([f"é{i}.png".encode() for i in sorted(range(12), key=str)]) in told("C", "0")


def test_a_zip_written_on_windows_has_folders(tmp_path):
    for name in ("a", "b"):
        pngs(tmp_path / "x" / name, 6)
    plain = ImageFolder(tmp_path / "x").describe()
    names = [f"{c}\\{i:02}.png" for c in "ab" for i in range(6)]
    place = packed(tmp_path / "x", names)
    assert ImageFolder(place).describe()["sha256"] == plain["sha256"]
    assert ImageFolder(place).classes == 2
    assert "12 names with backslashes: read as folders" in notes(place)[1]
    with zipfile.ZipFile(place, "a") as archive:
        archive.write(tmp_path / "x" / "a" / "00.png", "a/00.png")
    assert "is in it twice" in refused(place)


def test_names_of_a_zip_in_no_stated_encoding_are_counted(tmp_path):
    place = packed(pngs(tmp_path / "x"), [f"caf-{i:02}.png" for i in range(12)])
    content = place.read_bytes().replace(b"caf-", b"caf\xe9")
    place.write_bytes(content)
    assert "12 names without a stated encoding: read as cp437" in notes(place)[1]
    assert ImageFolder(place).describe()["sizes"]["train"] == 10


def test_a_zip_whose_names_are_no_utf8_though_it_says_so_is_refused(tmp_path):
    place = packed(pngs(tmp_path / "x"), [f"caf\N{LATIN SMALL LETTER E WITH ACUTE}{i:02}.png" for i in range(12)])
    place.write_bytes(place.read_bytes().replace("é".encode(), b"\xff\xff"))
    assert "neither a folder nor a readable zip" in refused(place)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_in_a_zip_twice_is_counted(tmp_path):
    place = packed(pngs(tmp_path / "x"))
    with zipfile.ZipFile(place, "a") as archive:
        archive.write(tmp_path / "x" / "01.png", "00.png")
    assert "12 images" in notes(place)[0]
    assert "1 repeated names: the last member of each is read" in notes(place)[1]


def test_class_folders_of_a_zip_with_images_beside_them_are_refused(tmp_path):
    pngs(tmp_path / "x" / "a", 4)
    pngs(tmp_path / "x", 4)
    assert "is beside class folders" in refused(packed(tmp_path / "x"))


def test_a_dataset_json_somewhere_else_is_left_out_and_counted(tmp_path):
    for name in ("a", "b"):
        pngs(tmp_path / "x" / name, 4)
    (tmp_path / "x" / "b" / "dataset.json").write_text(json.dumps({"labels": None}))
    assert "2 classes by folder; left out: 1 .json" in notes(tmp_path / "x")[0]
    (tmp_path / "x" / "dataset.json").write_text(json.dumps({"labels": None}))
    assert "8 images (8 .png), no classes; left out: 1 .json" in notes(tmp_path / "x")[0]


# ------------------------------------------------------------------------------------------------------- arrays

X = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)


def kept(path, **arrays):
    np.savez(path, **arrays)
    return path


def heard(path, shape=(3, 6, 6)):
    said = []
    return load_samples(path, shape, said.append), said


def test_a_npy_is_read_as_an_npz_of_it_is(tmp_path):
    np.save(tmp_path / "x.npy", X)
    wanted, _ = heard(kept(tmp_path / "x.npz", arr_0=X))
    split, said = heard(tmp_path / "x.npy")
    assert split.sha256 == wanted.sha256
    assert said == [f"{tmp_path}/x.npy: x, uint8 [12, 6, 6, 3], read as N, height, width, channels, no labels."]
    points = np.random.default_rng(0).normal(size=(7, 2))
    np.save(tmp_path / "points.npy", points)
    (tmp_path / "points.npy").rename(tmp_path / "points.NPY")
    split, said = heard(tmp_path / "points.NPY", (2,))
    assert split.x.tolist() == points.astype(np.float32).tolist()
    assert any("float64 rounded to float32" in line for line in said)


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.int32, np.float32, np.float64, ">i2"])
def test_whole_numbers_of_another_type_are_read_and_told(tmp_path, kind):
    split, said = heard(kept(tmp_path / "x.npz", arr_0=X.astype(kind)))
    assert split.x.permute(0, 2, 3, 1).numpy().tolist() == X.tolist()
    assert any("of whole numbers from 0 to 255: read as bytes" in line for line in said)


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
def test_numbers_that_can_be_meant_in_several_ways_are_refused_with_advice(tmp_path, array, advice):
    np.savez(tmp_path / "x.npz", arr_0=array)
    for reader in (lambda p: load_samples(p, (3, 6, 6)), lambda p: ImageFolder(p).setup()):
        with pytest.raises(Mistake, match=re.escape(advice)) as caught:
            reader(tmp_path / "x.npz")
        assert str(caught.value).count("\n") <= 1


def test_bytes_of_0_and_1_are_read_with_a_warning(tmp_path):
    _, said = heard(kept(tmp_path / "x.npz", arr_0=(X > 127).astype(np.uint8)))
    assert any("no value is above 1, of 255" in line for line in said)


Y = np.arange(12) % 3


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (Y, None),
        (Y.astype(np.uint8), None),
        (Y[:, None], "labels [12, 1] read as [12]"),
        (np.eye(3)[Y], "one-hot: read as the index of the 1"),
        (np.eye(3, dtype=bool)[Y], "one-hot: read as the index of the 1"),
        (Y.astype(np.float32), "labels of float32 read as whole numbers"),
    ],
)
@pytest.mark.parametrize("name", ["y", "labels", "arr_1"])
def test_labels_of_every_plain_form_are_read_and_told(tmp_path, labels, told, name):
    wanted, _ = heard(kept(tmp_path / "plain.npz", arr_0=X, y=Y))
    split, said = heard(kept(tmp_path / "x.npz", arr_0=X, **{name: labels}))
    assert split.y.tolist() == wanted.y.tolist()
    assert split.sha256 == wanted.sha256
    assert f"labels {name} (3 classes)" in said[0]
    assert len(said) == (1 if told is None else 2)
    assert told is None or told in said[1]
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
def test_labels_that_are_no_classes_are_refused(tmp_path, labels):
    path = kept(tmp_path / "x.npz", arr_0=X, y=labels)
    for reader in (lambda p: load_samples(p, (3, 6, 6)), lambda p: ImageFolder(p).setup()):
        with pytest.raises(Mistake, match="the labels are") as caught:
            reader(path)
        assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize(
    ("arrays", "told"),
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
def test_arrays_that_are_not_one_set_of_images_are_refused(tmp_path, arrays, told):
    path = kept(tmp_path / "x.npz", **arrays)
    with pytest.raises(Mistake, match=re.escape(told)):
        load_samples(path, (3, 6, 6))
    with pytest.raises(Mistake):
        ImageFolder(path).setup()


def test_a_npy_that_is_cut_short_or_none_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    whole = (tmp_path / "x.npy").read_bytes()
    for content in (whole[:200], whole[:20], b"", b"no array at all"):
        (tmp_path / "x.npy").write_bytes(content)
        for reader in (lambda p: load_samples(p, (3, 6, 6)), lambda p: ImageFolder(p).setup()):
            with pytest.raises(Mistake, match="cannot be read as an npy of a plain array"):
                reader(tmp_path / "x.npy")
