"""Home folders, users without one, locales, and file names that are not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from saddlepoint.config.catalogue import COMMANDS, command_keys
from saddlepoint.config.compose import compose
from saddlepoint.config.config_file import load_config, to_yaml
from saddlepoint.config.path import ABSOLUTE_KEYS, RELATIVE_KEYS, cache_folder, resolve_paths
from saddlepoint.error import Mistake
from saddlepoint.redaction import expand_home, shorten_home
from saddlepoint.run.folder import Run

NEEDED = {
    "export": ["run=x"], "import": ["from=x", "name=x"], "replay": ["dump=x"], "sample": ["run=x"],
    "apply": ["run=x", "source=x", "to=x"], "directions": ["run=x"], "fairness": ["run=x"],
}  # fmt: skip
PATHS = [(command, key) for command in COMMANDS for key in RELATIVE_KEYS if key in command_keys(command)]
C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # names of files are ASCII, and text is


@pytest.mark.parametrize(("command", "key"), PATHS)
def test_a_tilde_is_expanded_to_the_home_folder(command, key, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = [override for override in NEEDED.get(command, []) if not override.startswith(f"{key}=")]
    for spelled in (f"{key}=~/x", f'{key}="~/x"'):
        assert OmegaConf.select(compose([*words, spelled], command=command), key) == str(tmp_path / "x")


def test_every_path_of_every_command_is_covered():
    assert {key for _, key in PATHS} >= {
        "outputs",
        "cache",
        "to",
        "run",
        "runs",
        "samples",
        "from",
        "dump",
        "reference",
    }
    assert ("train", "outputs") in PATHS
    assert ("evaluate", "against") in PATHS


def test_a_tilde_is_expanded_in_paths_of_a_run_and_in_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["data=image_folder", "data.shape=[1,8,8]", "data.folder=~/imgs", "evaluation.weights=~/w.pt"]
    config = compose(words)
    paths = [OmegaConf.select(config, key) for key in ABSOLUTE_KEYS if key != "data.root"]
    assert [path for path in paths if path is not None] == [str(tmp_path / "imgs"), str(tmp_path / "w.pt")]
    assert list(compose(["runs=[~/a,~/b]"], command="compare").runs) == [str(tmp_path / name) for name in "ab"]
    assert Run("~/out").folder == tmp_path / "out"


@pytest.fixture
def homeless(monkeypatch):
    """A user whose id is in no list of users, as in a container."""
    import pwd

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "SADDLEPOINT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_training_works_without_a_home_folder_and_a_tilde_is_refused(homeless, tmp_path):
    assert (shorten_home("/x/y"), expand_home("~/x"), Run("x").folder.name) == ("/x/y", "~/x", "x")
    assert cache_folder(compose()).is_absolute()
    with pytest.raises(Mistake, match="outputs=~/out: there is no home folder ~ here; write the full path"):
        compose(["outputs=~/out"])


def in_c(*words, cwd, **environment):
    """Return what a command prints in the locale C without Python's UTF-8 mode."""
    command = [sys.executable, "-m", "saddlepoint", *words]
    env = {**os.environ, **C, **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=200)


@pytest.mark.slow  # several processes, ten seconds or more
def test_the_locale_does_not_change_the_run_or_its_files(tmp_path):
    folder = tmp_path / "é"
    for i in range(30):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[i % 2] / f"ü{i}.png")
    words = ["data=image_folder", "data.channels=1", f"data.folder={folder}", "images=640", "metric=[]", "logger=none"]
    done = in_c("train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("outputs/*/seed0")
    assert run.parent.name == compose(words).name
    assert load_config(run / "config.yaml").data.folder == str(folder)
    done = in_c("export", f"run={run}", "formats=[safetensors]", f"to={tmp_path / 'é'}-out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for path in [*run.glob("*.json"), *run.glob("*.yaml"), *(tmp_path / "é-out").glob("*.[jmy]*")]:
        path.read_text(encoding="utf-8")


def test_a_file_name_of_any_bytes_survives_a_config(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"\xff\xe9")
    words = ["data=image_folder", "data.shape=[1,8,8]", f"data.folder={folder}"]
    config = compose(words)
    run = Run(tmp_path / os.fsdecode(b"run\xfe"))
    run.folder.mkdir()
    run.write("config.yaml", to_yaml(config))
    run.write("note.md", f"of {folder}")
    assert load_config(run.config).data.folder == str(folder)
    assert "\\udcff" in (run.folder / "note.md").read_text(encoding="utf-8")
    run.update_summary(error=str(folder))
    assert json.loads((run.folder / "summary.json").read_text(encoding="utf-8"))["error"] == str(folder)


def test_resolving_paths_twice_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose(["data=mnist", "evaluation.weights=w.pt"])
    before = OmegaConf.to_yaml(config)
    resolve_paths(config)
    assert OmegaConf.to_yaml(config) == before
