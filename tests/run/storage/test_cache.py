"""A cache is written whole or not at all, by one process at a time, and never believed when it is broken."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest
import torch
from torch import Tensor

from saddlepoint.run.storage.cache import Cache, from_safetensors, to_safetensors

ABOUT = {"data": "ab", "settings": {"k": 5}}


class Maker:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Tensor]:
        self.times += 1
        sleep(0.05)
        return {"mu": torch.arange(4.0), "n": torch.tensor(7)}


def the_file(folder: Path, suffix: str = "safetensors") -> Path:
    return next(folder.rglob(f"*.{suffix}"))


def test_what_is_kept_is_made_once_and_depends_on_what_it_is_about(tmp_path: Path) -> None:
    make = Maker()
    for _ in range(2):
        found = Cache(tmp_path).get_tensors("statistics", ABOUT, make)
        assert torch.equal(found["mu"], torch.arange(4.0))
        assert found["n"] == 7
    assert make.times == 1
    Cache(tmp_path).get_tensors("statistics", ABOUT | {"data": "cd"}, make)
    assert make.times == 2


@pytest.mark.parametrize("harm", ["empty", "cut", "one bit", "another's", "text"])
def test_a_broken_file_is_made_again_with_a_word(tmp_path: Path, harm: str) -> None:
    make, words = Maker(), []
    Cache(tmp_path).get_tensors("statistics", ABOUT, make)
    file = the_file(tmp_path)
    whole = file.read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    others = to_safetensors(make(), {"data": "another"})
    file.write_bytes({"empty": b"", "cut": whole[:-9], "one bit": flipped, "another's": others, "text": b"{}"}[harm])
    make.times = 0
    found = Cache(tmp_path, words.append).get_tensors("statistics", ABOUT, make)
    assert torch.equal(found["mu"], torch.arange(4.0))
    assert make.times == 1
    assert len(words) == 1
    assert str(file) in words[0]
    assert file.read_bytes() == whole


def test_a_broken_record_is_made_again_with_a_word(tmp_path: Path) -> None:
    words = []
    assert Cache(tmp_path).get_json("anchors", ABOUT, lambda: {"fid": 0.1}) == {"fid": 0.1}
    assert Cache(tmp_path).get_json("anchors", ABOUT, dict) == {"fid": 0.1}
    file = the_file(tmp_path, "json")
    file.write_text(file.read_text().replace("0.1", "0.2"))
    assert Cache(tmp_path, words.append).get_json("anchors", ABOUT, lambda: {"fid": 0.3}) == {"fid": 0.3}
    assert len(words) == 1


def test_of_many_at_once_one_makes_it(tmp_path: Path) -> None:
    make = Maker()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Cache(tmp_path).get_tensors("statistics", ABOUT, make), range(8)))
    assert make.times == 1
    assert all(torch.equal(tensors["mu"], torch.arange(4.0)) for tensors in found)


def test_a_cache_that_cannot_be_written_costs_time_and_a_word(tmp_path: Path) -> None:
    make, words = Maker(), []
    blocked = tmp_path / "file"
    blocked.write_text("")  # a file where the folder should be
    for _ in range(2):
        assert Cache(blocked, words.append).get_tensors("statistics", ABOUT, make)["n"] == 7
    assert make.times == 2
    assert "cannot be written" in words[0]


def test_a_failure_of_the_maker_is_its_own(tmp_path: Path) -> None:
    def failing() -> dict[str, Tensor]:
        raise OSError("an image cannot be read")

    with pytest.raises(OSError, match="image"):
        Cache(tmp_path).get_tensors("statistics", ABOUT, failing)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_equal_tensors_give_equal_bytes() -> None:
    tensors = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int64)}
    assert len({to_safetensors(tensors, ABOUT) for _ in range(20)}) == 1
    assert torch.equal(from_safetensors(to_safetensors(tensors, ABOUT))["b"], torch.ones(2))
