import gzip
import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision.datasets

from saddlepoint.data.fashion_mnist import FashionMNIST
from saddlepoint.data.mnist import MNIST
from saddlepoint.error import Mistake

REAL = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def idx(content):
    """An IDX file of uint8 `content`."""
    header = bytes([0, 0, 8, content.ndim]) + b"".join(n.to_bytes(4, "big") for n in content.shape)
    return header + content.numpy().tobytes()


def originals():
    """Four IDX files like MNIST's, of 60 and 10 images; image i of a half is numbered in its first pixel."""
    files = {}
    for half, n in (("train", 60), ("t10k", 10)):
        x = torch.randint(256, (n, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
        x[:, 0, 0] = torch.arange(n)
        files[f"{half}-images-idx3-ubyte"] = idx(x)
        files[f"{half}-labels-idx1-ubyte"] = idx((torch.arange(n) % 10).to(torch.uint8))
    return files


FILES = originals()
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
PACKED = {name + ".gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}


def small(kind, mirror):
    """A subclass of `kind` whose original files are the small ones, served by `mirror`."""
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in PACKED.items()]
    source = type(
        kind.torchvision_class.__name__, (kind.torchvision_class,), {"mirrors": [mirror], "resources": resources}
    )
    facts = {"torchvision_class": source, "counts": {"train": 60, "t10k": 10}, "held_out": 10}
    facts["archive_sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in PACKED.items()}
    return type(kind.__name__, (kind,), facts | ({"file_sha256": SHA256} if kind.file_sha256 else {}))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The address of a server of the .gz files, and their folder."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in PACKED.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", folder
    server.shutdown()
    server.server_close()


def placed(root, kind):
    raw = root / kind.torchvision_class.__name__ / "raw"
    raw.mkdir(parents=True)
    for name, content in FILES.items():
        (raw / name).write_bytes(content)
    return raw


NOWHERE = "http://127.0.0.1:9/"
both = pytest.mark.parametrize("kind", [MNIST, FashionMNIST])


@both
def test_the_splits_are_the_first_and_last_training_images_and_the_test_images(tmp_path, kind):
    kind = small(kind, NOWHERE)
    placed(tmp_path, kind)
    data = kind(tmp_path)
    data.prepare_data()
    for name, first, n in (("train", 0, 50), ("validation", 50, 10), ("test", 0, 10)):
        split = data.split(name)
        assert split.x.dtype == torch.uint8
        assert split.x.shape == (n, 1, 28, 28)
        assert split.x[:, 0, 0, 0].equal(torch.arange(first, first + n).to(torch.uint8))
        assert split.y.equal(torch.arange(first, first + n) % 10)


@both
def test_reserved_images_are_a_fixed_random_part_removed_from_train(tmp_path, kind):
    kind = small(kind, NOWHERE)
    placed(tmp_path, kind)
    whole, data, again = kind(tmp_path), kind(tmp_path, reserved=15, seed=1), kind(tmp_path, reserved=15, seed=2)
    assert (whole.exchangeable_splits, data.exchangeable_splits) == ((), ("train", "reserved"))
    assert data.describe()["sizes"] == {"train": 35, "validation": 10, "test": 10, "reserved": 15}
    numbers = {name: set(data.split(name).x[:, 0, 0, 0].tolist()) for name in data.exchangeable_splits}
    assert numbers["train"] | numbers["reserved"] == set(range(50))
    assert not numbers["train"] & numbers["reserved"]
    assert numbers["reserved"] not in (set(range(15)), set(range(35, 50)))  # no stretch of them
    assert data.split("reserved").y.equal(data.split("reserved").x[:, 0, 0, 0] % 10)
    assert data.split("reserved").sha256 == again.split("reserved").sha256
    for name in ("validation", "test"):
        assert data.split(name).sha256 == whole.split(name).sha256


@both
@pytest.mark.parametrize("reserved", [-1, 50, 2.5])
def test_a_reserve_that_leaves_no_training_images_is_refused(tmp_path, kind, reserved):
    with pytest.raises(Mistake, match=rf"data\.reserved={reserved}: .* 0 to 49"):
        small(kind, NOWHERE)(tmp_path, reserved=reserved)


@both
def test_missing_files_are_downloaded_once_and_verified(tmp_path, mirror, kind):
    url, folder = mirror
    data = small(kind, url)(tmp_path / "new" / "root")
    data.prepare_data()
    assert {name: (data.raw_folder / name).read_bytes() for name in FILES} == FILES
    for file in folder.iterdir():
        file.unlink()
    data.prepare_data()  # does not ask again
    assert data.describe()["sizes"] == {"train": 50, "validation": 10, "test": 10}


@both
def test_a_failed_download_leaves_nothing_behind(tmp_path, mirror, kind):
    url, folder = mirror
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(Mistake, match=r"t10k-labels-idx1-ubyte missing in .* could not be downloaded"):
        small(kind, url)(tmp_path / "root").prepare_data()
    assert not (tmp_path / "root").exists()


@both
def test_a_download_of_other_content_is_refused(tmp_path, mirror, kind):
    url, folder = mirror
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"<html>log in to this network</html>"))
    with pytest.raises(Mistake, match=r"could not be downloaded"):
        small(kind, url)(tmp_path / "root").prepare_data()
    assert not (tmp_path / "root").exists()


@both
def test_missing_files_without_a_network_are_refused_with_path_and_command(tmp_path, kind):
    kind = small(kind, NOWHERE)
    raw = placed(tmp_path, kind)
    (raw / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(Mistake) as caught:
        kind(tmp_path).split("train")
    message = str(caught.value)
    for part in (f"train-labels-idx1-ubyte missing in {raw}", f"curl -fLO {NOWHERE}$f.gz", "data.root="):
        assert part in message
    assert "train-images" not in message.split("; they")[0]
    assert message.count("\n") == 1
    with pytest.raises(Mistake, match="were not downloaded"):
        kind(tmp_path).setup()


@both
def test_a_root_that_cannot_be_written_to_is_refused_by_name(tmp_path, mirror, kind):
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match=r"file/\w+/raw, .*, cannot be written to .*\n.*data\.root="):
        small(kind, mirror[0])(tmp_path / "file").prepare_data()


@both
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused_by_name(tmp_path, kind, name):
    kind = small(kind, NOWHERE)
    raw = placed(tmp_path, kind)
    (raw / name).write_bytes(FILES[name][:-1])
    with pytest.raises(Mistake, match=rf"{name} is corrupt: .* bytes instead of .*\nDelete it and run again"):
        kind(tmp_path).setup()


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_found_by_sha256(tmp_path, name):
    kind = small(MNIST, NOWHERE)
    raw = placed(tmp_path, kind)
    content = bytearray(FILES[name])
    content[-1] ^= 1
    (raw / name).write_bytes(content)
    with pytest.raises(Mistake, match=rf"{name} is corrupt: its sha256 is \w+... instead of \w+"):
        kind(tmp_path).setup()


def test_without_a_sha256_headers_labels_and_archives_are_checked(tmp_path):
    kind = small(FashionMNIST, NOWHERE)
    raw = placed(tmp_path, kind)
    name = "train-labels-idx1-ubyte"

    def message(content, archive=None):
        (raw / name).write_bytes(content)
        if archive is not None:
            (raw / (name + ".gz")).write_bytes(archive)
        with pytest.raises(Mistake, match=f"{name} is corrupt") as caught:
            kind(tmp_path).setup()
        return str(caught.value)

    good = FILES[name]
    assert "header" in message(b"\1" + good[1:])
    assert "label 10, and there are ten classes" in message(good[:-1] + b"\12")
    assert "differs from the content of" in message(good[:-1] + b"\0", PACKED[name + ".gz"])
    assert "sha256" in message(good, gzip.compress(good[:-1]))


def test_a_sha256_is_known_for_every_file_or_its_archive():
    assert set(MNIST.file_sha256) == {name.removesuffix(".gz") for name, _ in torchvision.datasets.MNIST.resources}
    assert not FashionMNIST.file_sha256
    assert set(FashionMNIST.archive_sha256) == {name for name, _ in torchvision.datasets.FashionMNIST.resources}
    assert all(len(digest) == 64 for digest in (*MNIST.file_sha256.values(), *FashionMNIST.archive_sha256.values()))


def test_a_download_of_another_archive_with_the_right_md5_is_refused(tmp_path, mirror):
    kind = small(FashionMNIST, mirror[0])
    kind.archive_sha256 = {**kind.archive_sha256, "t10k-images-idx3-ubyte.gz": "0" * 64}
    with pytest.raises(Mistake, match=r"were downloaded, but t10k-images-idx3-ubyte: .* does not have the sha256"):
        kind(tmp_path / "new").prepare_data()
    assert not list((tmp_path / "new").rglob("*ubyte*"))


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason=f"no MNIST in {REAL}: set SADDLEPOINT_DATA")
def test_the_real_mnist_is_valid_and_has_the_known_sizes():
    data = MNIST(REAL)
    data.prepare_data()
    described = data.describe()
    assert described["sizes"] == {"train": 50_000, "validation": 10_000, "test": 10_000}
    assert data.split("train").y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    test = torchvision.datasets.MNIST(str(REAL), train=False)
    assert data.split("test").x.squeeze(1).equal(test.data)
    assert data.split("test").y.equal(test.targets)
