"""A key that is added to a finished run's config, and that nothing reads, is refused and not taken in silence."""

import shutil
from pathlib import Path

import pytest

from saddlepoint.cli import main

RUN = next(path.parent for path in sorted((Path(__file__).parents[1] / "fixture").rglob("config.yaml")))


@pytest.mark.parametrize("command", ["evaluate", "memorisation", "sample"])
@pytest.mark.parametrize("word", ["+foo=3", "++foo=3", "+data_root=x"])
def test_a_key_that_nothing_reads_is_refused_by_its_name(
    command: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUN, tmp_path / "run")
    assert main([command, "run=run", word]) == 1
    assert word.strip("+").partition("=")[0] in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
