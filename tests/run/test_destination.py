"""A command whose output cannot be written is refused before anything is loaded, and leaves no file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from runs import run

from saddlepoint.cli import main
from saddlepoint.error import Mistake
from saddlepoint.run import destination

SAMPLES = ["samples=nowhere.npz", "data=digits"]
FILES = {  # commands that write a file: the other arguments, and the suffix
    "sample": (["sample", "run=run"], ".png"),
    "sample npz": (["sample", "run=run"], ".npz"),
    "evaluate": (["evaluate", "run=run"], ".json"),
    "evaluate samples": (["evaluate", *SAMPLES], ".json"),
    "memorisation": (["memorisation", "run=run"], ".png"),
    "memorisation samples": (["memorisation", *SAMPLES], ".png"),
}
FOLDERS = {  # commands that write a folder, and the key that names it
    "sample": (["sample", "run=run"], "to"),
    "export": (["export", "run=run"], "to"),
    "compare": (["compare", "runs=[run]"], "to"),
    "train": (["train", "logger=none"], "outputs"),
    "many": (["train", "-m", "seed=0,1", "logger=none"], "outputs"),
    "sweep": (["sweep", "sweep=digits"], "outputs"),
    "reproduce": (["reproduce", "baseline=historical_averaging", "allow_dirty=true"], "outputs"),
    "import": (["import", "from=samples.npz", "name=theirs", "data=digits"], "outputs"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs"), "metric=[]", "images=128").folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run without checkpoints, so that loading it raises another error than `to`."""
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "samples.npz").write_bytes(b"")
    (tmp_path / "file").write_text("")
    for ending in (".png", ".npz", ".json"):
        (tmp_path / f"folder{ending}").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with one line and change no file; return its message."""
    before = _file_times(folder)
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1, message
    assert _file_times(folder) == before
    return message


def _file_times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns * path.is_file() for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("arguments", "ending"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("to", ["folder{}", "file/x{}", "x.wrong", "x{}/", "/proc/x{}", f"{'long' * 70}{{}}"])
def test_a_file_that_cannot_be_written_is_refused_first(
    arguments: list[str], ending: str, to: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments[0] == "sample" and to.endswith("/"):
        return  # a folder is allowed here
    to = to.format(ending)
    message = _refused([*arguments, f"to={to}"], folder, capsys)
    assert f"to={to.rstrip('/')}" in message or f"cannot write {to}" in message


@pytest.mark.parametrize(("arguments", "key"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("to", ["file", "file/in/it", "/proc/x", "long" * 70])
def test_a_folder_that_cannot_be_written_is_refused_first(
    arguments: list[str], key: str, to: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = _refused([*arguments, f"{key}={to}"], folder, capsys)
    assert f"{key}={to}" in message or f"cannot write {to}" in message


@pytest.mark.parametrize("command", ["sample", "export"])
def test_binary_output_is_not_written_to_stdout(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "to=-: " in _refused([command, "run=run", "to=-"], folder, capsys)


def test_a_folder_that_is_not_empty_is_refused_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "full").mkdir()
    (folder / "full" / "a.png").write_text("")
    assert "is not empty" in _refused(["sample", "run=run", "to=full/"], folder, capsys)
    assert "it exists already" in _refused(["export", "run=run", "to=full"], folder, capsys)
    assert "holds no comparison" in _refused(["compare", "runs=[run]", "to=full"], folder, capsys)


def test_a_missing_folder_is_refused_if_the_command_does_not_create_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "missing is not a folder" in _refused(["evaluate", "run=run", "to=missing/x.json"], folder, capsys)


@pytest.mark.parametrize("command", ["evaluate", "memorisation"])
def test_a_run_folder_that_cannot_be_written_is_refused_first(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*args: object, **given: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(destination, "NamedTemporaryFile", read_only)
    message = _refused([command, "run=run"], folder, capsys)
    assert "run cannot be written (Permission denied)" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize(("arguments", "ending"), FILES.values(), ids=FILES)
def test_a_read_only_folder_is_refused_first(
    arguments: list[str], ending: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "closed").mkdir(mode=0o555)
    assert "cannot write closed" in _refused([*arguments, f"to=closed/x{ending}"], folder, capsys)


def test_the_check_of_a_writable_path_leaves_no_file(tmp_path: Path) -> None:
    assert destination.check_output_file(tmp_path / "a" / "x.json", (".json",), "") == tmp_path / "a" / "x.json"
    assert destination.check_output_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Mistake, match="null byte"):
        destination.check_output_folder("a\0b")
