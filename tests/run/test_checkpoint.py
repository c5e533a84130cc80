"""Checkpoints are written atomically, and a damaged one is never loaded."""

import os
import pickle

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.run.checkpoint import AtomicCheckpointIO, load_checkpoint, load_newest_checkpoint


def state(images):
    return {"state_dict": {"w": torch.arange(1000.0) + images}, "saddlepoint": {"format": 1, "images": images}}


@pytest.fixture
def messages():
    return []


@pytest.fixture
def folder(tmp_path):
    for images in (100, 200):
        AtomicCheckpointIO().save_checkpoint(state(images), tmp_path / "last.ckpt")
    return tmp_path


def test_a_save_renames_last_to_previous_and_leaves_no_other_file(folder, messages):
    assert sorted(p.name for p in folder.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert load_checkpoint(folder / "previous.ckpt")["saddlepoint"]["images"] == 100
    path, checkpoint = load_newest_checkpoint(folder, messages.append)
    assert (path.name, checkpoint["saddlepoint"]["images"]) == ("last.ckpt", 200)
    assert torch.equal(checkpoint["state_dict"]["w"], torch.arange(1000.0) + 200)
    assert messages == []


@pytest.mark.parametrize("kept_bytes", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_last_checkpoint_falls_back_to_the_previous_with_a_message(folder, messages, kept_bytes):
    content = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(content[: int(kept_bytes if kept_bytes >= 1 else kept_bytes * len(content))])
    path, checkpoint = load_newest_checkpoint(folder, messages.append)
    assert checkpoint["saddlepoint"]["images"] == 100
    assert path.name == "previous.ckpt"
    assert "last.ckpt" in messages[0]
    assert "100 images" in messages[0]


def test_a_crash_between_the_two_renames_keeps_the_previous_checkpoint(folder, messages):
    (folder / "last.ckpt").unlink()
    assert load_newest_checkpoint(folder, messages.append)[1]["saddlepoint"]["images"] == 100
    assert len(messages) == 1


def test_unreadable_checkpoints_raise_an_error(folder, messages):
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(Mistake, match="overwrite=true"):
        load_newest_checkpoint(folder, messages.append)


def test_an_empty_folder_has_no_checkpoint(tmp_path, messages):
    assert load_newest_checkpoint(tmp_path, messages.append) is None


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(2)}}, tmp_path / "other.ckpt")
    with pytest.raises(Mistake, match="was not written by Saddlepoint"):
        load_checkpoint(tmp_path / "other.ckpt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was_here"),)

    with (tmp_path / "evil.ckpt").open("wb") as file:
        pickle.dump({"saddlepoint": Evil()}, file)
    torch.save({"saddlepoint": Evil()}, tmp_path / "evil2.ckpt")
    for name in ("evil.ckpt", "evil2.ckpt"):
        with pytest.raises(Mistake, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize("moment", ["write", "fsync", "first rename", "second rename"])
def test_a_failure_at_any_moment_of_a_save_keeps_a_good_checkpoint(folder, messages, moment, monkeypatch):
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
        AtomicCheckpointIO().save_checkpoint(state(300), folder / "last.ckpt")
    monkeypatch.undo()
    assert load_newest_checkpoint(folder, messages.append)[1]["saddlepoint"]["images"] == 200
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]
