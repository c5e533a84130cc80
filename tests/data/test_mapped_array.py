"""An array file that is larger than data.memory is read from disk, and gives the bits of one that is in memory."""

import atexit
import multiprocessing
import pickle
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
import torch

from saddlepoint import compose, train
from saddlepoint.data.disk_split import close_open_iterators
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.error import Mistake

SPLITS = ("train", "validation", "test")
SHAPES = {"last": (30, 5, 4, 3), "first": (30, 3, 5, 4), "grey": (30, 5, 4)}


def images(layout="last", kind=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, SHAPES[layout], kind, endpoint=True)


def saved(folder, x, suffix):
    path = folder / f"images{suffix}"
    if suffix == ".npy":
        np.save(path, x)
    else:
        np.savez(path, y=np.arange(len(x)) % 3, x=x)  # x does not come first in the file
    return path


def pair(path, **options):
    """Return the data of a file in memory, and from disk."""
    memory, disk = (ImageFolder(path, batch=10, seed=4, memory=m, **options) for m in (2**20, 0))
    assert memory.split("train").in_memory
    assert not disk.split("train").in_memory
    return memory, disk


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", SHAPES)
def test_a_mapped_file_gives_the_rows_of_memory(tmp_path, layout, kind, suffix):
    path = saved(tmp_path, images(layout, kind), suffix)
    memory, disk = pair(path, channels=1 if layout == "grey" else 3, workers=0)
    for name in SPLITS:
        assert disk.split(name).sha256 == memory.split(name).sha256
        assert disk.split(name).shape == memory.split(name).shape
    assert memory.describe() == {k: v for k, v in disk.describe().items() if k != "files"}
    assert (disk.classes, disk.modality.bits) == (memory.classes, memory.modality.bits)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_also_from_the_middle_of_an_epoch(tmp_path, workers):
    memory, disk = pair(saved(tmp_path, images(), ".npz"), workers=workers, flip=True)
    before = torch.get_rng_state()
    with closing(disk.training_batches(17)) as batches:
        for expected, batch in islice(zip(memory.training_batches(17), batches, strict=True), 6):  # crosses epochs: 24
            assert batch.x.equal(expected.x)
            assert batch.y.equal(expected.y)
    assert torch.get_rng_state().equal(before)


def test_workers_of_an_iterator_that_an_error_left_open_end_at_exit(tmp_path, monkeypatch):
    """They ignore SIGTERM, and Python waits for them."""
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(atexit, "unregister", lambda function: None)
    _, disk = pair(saved(tmp_path, images(), ".npz"), workers=2)
    batches = disk.training_batches(17)
    next(batches)
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    assert len(workers) == 2
    assert at_exit[-1] is close_open_iterators, "functions run in reverse order, and those of torch wait for workers"
    close_open_iterators()
    assert not any(worker.is_alive() for worker in workers)


def test_a_fortran_array_is_read_in_its_order(tmp_path):
    memory, disk = pair(saved(tmp_path, np.asfortranarray(images()), ".npy"), workers=0)
    assert disk.split("train").sha256 == memory.split("train").sha256


def test_a_worker_gets_the_path_and_not_the_pixels(tmp_path):
    x = np.zeros((300, 32, 32, 3), np.uint8)
    split = ImageFolder(saved(tmp_path, x, ".npy"), memory=0, workers=0).split("train")
    split[torch.arange(3)]
    content = pickle.dumps(split)
    assert len(content) < 30_000
    assert pickle.loads(content)[torch.arange(3)][0].equal(split[torch.arange(3)][0])


def test_what_cannot_be_mapped_is_read_into_memory(tmp_path):
    np.savez_compressed(tmp_path / "compressed.npz", images())
    np.savez(tmp_path / "columns.npz", x=images(), mask=images())
    np.save(tmp_path / "int64.npy", images().astype(np.int64))
    for path in tmp_path.iterdir():
        assert ImageFolder(path, memory=0).split("train").in_memory, path


def test_a_truncated_file_is_named(tmp_path):
    path = saved(tmp_path, images(), ".npy")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Mistake, match=r"images\.npy cannot be read"):
        ImageFolder(path, memory=0).split("train")


def test_another_content_of_equal_size_is_noticed(tmp_path):
    x = images()
    first = ImageFolder(saved(tmp_path, x, ".npy"), memory=0, workers=0)
    first.split("train")
    files = first.describe()["files"]
    x[7, 0, 0, 0] ^= 1
    second = ImageFolder(saved(tmp_path, x, ".npy"), memory=0, workers=0)
    second.split("train")
    assert second.describe()["files"] != files


@pytest.mark.slow  # three trainings
def test_a_run_that_resumes_from_disk_with_workers_has_the_weights_of_one_from_memory(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    shared = ["data=image_folder", f"data.folder={saved(tmp_path, x, '.npz')}", "data.channels=1", "batch=16",
              "metric=[]", "logger=none", "callback=[checkpoint]", "name=run"]  # fmt: skip
    forms = {"memory": [], "disk": ["data.memory=0", "data.workers=2"]}
    for name, images in {"memory": (640,), "disk": (320, 640)}.items():
        for n in images:
            train(compose([*shared, *forms[name], f"images={n}", f"outputs={tmp_path / name}"]))
    a, b = (torch.load(tmp_path / name / "run" / "seed0" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
            for name in forms)  # fmt: skip
    assert all(a[key].equal(b[key]) for key in a if isinstance(a[key], torch.Tensor))
