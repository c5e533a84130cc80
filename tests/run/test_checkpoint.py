"""Checkpoints are whole or absent, and a broken one is never trusted."""

import os
import pickle

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.run.checkpoint import AtomicCheckpointIO, load_checkpoint, load_newest_checkpoint


def state(images):
    return {"state_dict": {"w": torch.arange(1000.0) + images}, "saddlepoint": {"format": 1, "images": images}}


@pytest.fixture
def said():
    return []


@pytest.fixture
def two(tmp_path):
    for images in (100, 200):
        AtomicCheckpointIO().save_checkpoint(state(images), tmp_path / "last.ckpt")
    return tmp_path


def test_the_last_becomes_the_previous_and_nothing_else_is_left(two, said):
    assert sorted(p.name for p in two.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert load_checkpoint(two / "previous.ckpt")["saddlepoint"]["images"] == 100
    path, checkpoint = load_newest_checkpoint(two, said.append)
    assert (path.name, checkpoint["saddlepoint"]["images"]) == ("last.ckpt", 200)
    assert torch.equal(checkpoint["state_dict"]["w"], torch.arange(1000.0) + 200)
    assert said == []


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_last_gives_way_to_the_previous_with_a_word(two, said, kept):
    content = (two / "last.ckpt").read_bytes()
    (two / "last.ckpt").write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    path, checkpoint = load_newest_checkpoint(two, said.append)
    assert checkpoint["saddlepoint"]["images"] == 100
    assert path.name == "previous.ckpt"
    assert "last.ckpt" in said[0]
    assert "100 images" in said[0]


def test_a_crash_between_the_two_renames_leaves_the_previous(two, said):
    (two / "last.ckpt").unlink()
    assert load_newest_checkpoint(two, said.append)[1]["saddlepoint"]["images"] == 100
    assert len(said) == 1


def test_where_nothing_can_be_read_a_person_is_asked(two, said):
    for name in ("last.ckpt", "previous.ckpt"):
        (two / name).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(Mistake, match="overwrite=true"):
        load_newest_checkpoint(two, said.append)


def test_an_empty_folder_has_no_checkpoint(tmp_path, said):
    assert load_newest_checkpoint(tmp_path, said.append) is None


def test_somebody_elses_checkpoint_is_named_as_such(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(2)}}, tmp_path / "other.ckpt")
    with pytest.raises(Mistake, match="not one of Saddlepoint's"):
        load_checkpoint(tmp_path / "other.ckpt")


def test_a_checkpoint_that_would_run_code_is_refused_before_it_does(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was_here"),)

    with (tmp_path / "evil.ckpt").open("wb") as file:
        pickle.dump({"saddlepoint": Evil()}, file)
    torch.save({"saddlepoint": Evil()}, tmp_path / "evil2.ckpt")
    for name in ("evil.ckpt", "evil2.ckpt"):
        with pytest.raises(Mistake, match="no readable checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize("moment", ["write", "fsync", "first rename", "second rename"])
def test_a_failure_at_any_moment_of_a_save_leaves_a_good_checkpoint(two, said, moment, monkeypatch):
    renames = []
    replace = os.replace

    def failing_replace(a, b):
        renames.append(b)
        if moment == ("first rename", "second rename")[len(renames) - 1]:
            raise OSError(28, "No space left on device")
        replace(a, b)

    def full(*a, **k):
        raise OSError(28, "No space left on device")

    if moment == "write":
        monkeypatch.setattr(torch, "save", full)
    elif moment == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(os, "replace", failing_replace)
    with pytest.raises(Mistake, match="last good checkpoint"):
        AtomicCheckpointIO().save_checkpoint(state(300), two / "last.ckpt")
    monkeypatch.undo()
    assert load_newest_checkpoint(two, said.append)[1]["saddlepoint"]["images"] == 200
    assert not [p for p in two.iterdir() if p.name.startswith(".")]
