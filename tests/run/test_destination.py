"""Where results cannot be written, a command is refused before anything is loaded, and leaves nothing behind."""

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
FILES = {  # commands that write a file: the words beside to=, its ending
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
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run whose checkpoints are gone: what loads it says so, in the place of `to`."""
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "samples.npz").write_bytes(b"")
    (tmp_path / "file").write_text("")
    for ending in (".png", ".npz", ".json"):
        (tmp_path / f"folder{ending}").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _refused(words: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says; it ends with 1, in one line, and leaves everything as it was."""
    before = _everything(place)
    assert main(words) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1, told
    assert _everything(place) == before
    return told


def _everything(place: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns * path.is_file() for path in sorted(place.rglob("*"))}


@pytest.mark.parametrize(("words", "ending"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("to", ["folder{}", "file/x{}", "x.wrong", "x{}/", "/proc/x{}", f"{'long' * 70}{{}}"])
def test_a_file_that_cannot_be_written_is_refused_first(
    words: list[str], ending: str, to: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "sample" and to.endswith("/"):
        return  # which names a folder
    to = to.format(ending)
    told = _refused([*words, f"to={to}"], place, capsys)
    assert f"to={to.rstrip('/')}" in told or f"cannot write {to}" in told


@pytest.mark.parametrize(("words", "key"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("to", ["file", "file/in/it", "/proc/x", "long" * 70])
def test_a_folder_that_cannot_be_written_is_refused_first(
    words: list[str], key: str, to: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _refused([*words, f"{key}={to}"], place, capsys)
    assert f"{key}={to}" in told or f"cannot write {to}" in told


@pytest.mark.parametrize("command", ["sample", "export"])
def test_what_is_no_text_does_not_go_to_a_hyphen(command: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "to=-: " in _refused([command, "run=run", "to=-"], place, capsys)


def test_a_folder_that_holds_something_is_refused_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "full").mkdir()
    (place / "full" / "a.png").write_text("")
    assert "is not empty" in _refused(["sample", "run=run", "to=full/"], place, capsys)
    assert "something lies there" in _refused(["export", "run=run", "to=full"], place, capsys)
    assert "holds no comparison" in _refused(["compare", "runs=[run]", "to=full"], place, capsys)


def test_a_missing_folder_is_refused_where_it_is_not_made(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing is none" in _refused(["evaluate", "run=run", "to=missing/x.json"], place, capsys)


@pytest.mark.parametrize("command", ["evaluate", "memorisation"])
def test_a_run_that_nothing_can_be_added_to_is_refused_first(
    command: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*args: object, **given: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(destination, "NamedTemporaryFile", read_only)
    told = _refused([command, "run=run"], place, capsys)
    assert "run: nothing can be written there (Permission denied)" in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize(("words", "ending"), FILES.values(), ids=FILES)
def test_a_read_only_folder_is_refused_first(
    words: list[str], ending: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "closed").mkdir(mode=0o555)
    assert "cannot write closed" in _refused([*words, f"to=closed/x{ending}"], place, capsys)


def test_what_can_be_written_leaves_no_trace_of_the_trial(tmp_path: Path) -> None:
    assert destination.check_output_file(tmp_path / "a" / "x.json", (".json",), "") == tmp_path / "a" / "x.json"
    assert destination.check_output_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Mistake, match="null byte"):
        destination.check_output_folder("a\0b")
