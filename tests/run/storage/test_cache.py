"""A cache is written atomically, by one process at a time, and damaged files are never used."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest
import torch
from torch import Tensor

from saddlepoint.run.storage.cache import Cache, from_safetensors, to_safetensors

ABOUT = {"data": "ab", "settings": {"k": 5}}


class Computation:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Tensor]:
        self.times += 1
        sleep(0.05)
        return {"mu": torch.arange(4.0), "n": torch.tensor(7)}


def cached_file(folder: Path, suffix: str = "safetensors") -> Path:
    return next(folder.rglob(f"*.{suffix}"))


def test_a_cached_value_is_computed_once_per_key(tmp_path: Path) -> None:
    compute = Computation()
    for _ in range(2):
        tensors = Cache(tmp_path).get_or_make_tensors("statistics", ABOUT, compute)
        assert torch.equal(tensors["mu"], torch.arange(4.0))
        assert tensors["n"] == 7
    assert compute.times == 1
    Cache(tmp_path).get_or_make_tensors("statistics", ABOUT | {"data": "cd"}, compute)
    assert compute.times == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "one bit", "another's", "text"])
def test_a_damaged_file_is_computed_again_with_a_message(tmp_path: Path, damage: str) -> None:
    compute, messages = Computation(), []
    Cache(tmp_path).get_or_make_tensors("statistics", ABOUT, compute)
    file = cached_file(tmp_path)
    content = file.read_bytes()
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    other_content = to_safetensors(compute(), {"data": "another"})
    file.write_bytes(
        {"empty": b"", "cut": content[:-9], "one bit": flipped, "another's": other_content, "text": b"{}"}[damage]
    )
    compute.times = 0
    tensors = Cache(tmp_path, messages.append).get_or_make_tensors("statistics", ABOUT, compute)
    assert torch.equal(tensors["mu"], torch.arange(4.0))
    assert compute.times == 1
    assert len(messages) == 1
    assert str(file) in messages[0]
    assert file.read_bytes() == content


def test_damaged_json_is_computed_again_with_a_message(tmp_path: Path) -> None:
    messages = []
    assert Cache(tmp_path).get_or_make_json("anchors", ABOUT, lambda: {"fid": 0.1}) == {"fid": 0.1}
    assert Cache(tmp_path).get_or_make_json("anchors", ABOUT, dict) == {"fid": 0.1}
    file = cached_file(tmp_path, "json")
    file.write_text(file.read_text().replace("0.1", "0.2"))
    assert Cache(tmp_path, messages.append).get_or_make_json("anchors", ABOUT, lambda: {"fid": 0.3}) == {"fid": 0.3}
    assert len(messages) == 1


def test_of_concurrent_threads_only_one_computes(tmp_path: Path) -> None:
    compute = Computation()
    with ThreadPoolExecutor(8) as pool:
        tensors = list(pool.map(lambda _: Cache(tmp_path).get_or_make_tensors("statistics", ABOUT, compute), range(8)))
    assert compute.times == 1
    assert all(torch.equal(tensors["mu"], torch.arange(4.0)) for tensors in tensors)


def test_an_unwritable_cache_computes_every_time_with_a_message(tmp_path: Path) -> None:
    compute, messages = Computation(), []
    blocked = tmp_path / "file"
    blocked.write_text("")  # a file where the folder should be
    for _ in range(2):
        assert Cache(blocked, messages.append).get_or_make_tensors("statistics", ABOUT, compute)["n"] == 7
    assert compute.times == 2
    assert "cannot be written" in messages[0]


def test_an_error_in_the_computation_is_raised(tmp_path: Path) -> None:
    def failing() -> dict[str, Tensor]:
        raise OSError("an image cannot be read")

    with pytest.raises(OSError, match="image"):
        Cache(tmp_path).get_or_make_tensors("statistics", ABOUT, failing)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_equal_tensors_give_equal_bytes() -> None:
    tensors = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int64)}
    assert len({to_safetensors(tensors, ABOUT) for _ in range(20)}) == 1
    assert torch.equal(from_safetensors(to_safetensors(tensors, ABOUT))["b"], torch.ones(2))
