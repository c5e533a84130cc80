"""Files and folders are written atomically, whatever is raised during a write."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from saddlepoint.run.storage import atomic


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("operation", ["fsync", "replace"])
@pytest.mark.parametrize("content", ["new", b"new", lambda file: file.write(b"new")])
def test_a_write_that_fails_keeps_the_old_content(content, operation, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "file"
    atomic.write_atomic(file, b"old")
    monkeypatch.setattr(os, operation, full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_atomic(file, content)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.undo()
    atomic.write_atomic(file, content)
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_a_writer_leaves_no_file(error, tmp_path: Path) -> None:
    def write(file) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(error):
        atomic.write_atomic(tmp_path / "file", write)
    with pytest.raises(error), atomic.atomic_folder(tmp_path / "folder") as folder:
        write((folder / "half").open("wb"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_only_when_complete(tmp_path: Path) -> None:
    with atomic.atomic_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
        assert atomic.UNFINISHED.fullmatch(folder.name), "the next start of the run deletes it after a crash"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_the_old_file_is_kept_under_the_given_name(tmp_path: Path) -> None:
    for content in ("first", "second", "third"):
        atomic.write_atomic(tmp_path / "last", content, tmp_path / "previous")
    assert ((tmp_path / "last").read_text(), (tmp_path / "previous").read_text()) == ("third", "second")


def test_a_write_follows_the_umask_and_keeps_the_random_state(tmp_path: Path) -> None:
    before, state = os.umask(0o022), random.getstate()
    try:
        atomic.write_atomic(tmp_path / "shared", "x")
        os.umask(0o077)
        atomic.write_atomic(tmp_path / "own", "x")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("shared", "own")] == [0o644, 0o600]
    assert random.getstate() == state
