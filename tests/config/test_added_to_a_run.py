"""An unused key that is added to the config of a finished run is refused."""

import shutil
from pathlib import Path

import pytest

from saddlepoint.cli import main

RUN = next(path.parent for path in sorted((Path(__file__).parents[1] / "fixture").rglob("config.yaml")))


@pytest.mark.parametrize("command", ["evaluate", "memorisation", "sample"])
@pytest.mark.parametrize("override", ["+foo=3", "++foo=3", "+data_root=x"])
def test_an_unused_key_is_refused_by_name(
    command: str, override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUN, tmp_path / "run")
    assert main([command, "run=run", override]) == 1
    assert override.strip("+").partition("=")[0] in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
