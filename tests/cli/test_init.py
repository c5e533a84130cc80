"""saddlepoint init: the folder that it writes passes its own tests and trains, and nothing is replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import saddlepoint
from saddlepoint.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tests_of_a_new_folder_pass(here: Path) -> None:
    assert main(["init", "to=research/my gan", "name=soft_hinge"]) == 0
    environment = {**os.environ, "PYTHONPATH": str(Path(saddlepoint.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=here / "research" / "my gan",
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "4 passed" in process.stdout, process.stdout + process.stderr


def test_the_tests_of_a_new_folder_fail_with_another_loss(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["init", "to=.", "name=changed_loss"]) == 0
    loss, defined = here / "changed_loss.py", {}
    loss.write_text(loss.read_text().replace("(1 + fake)", "(2 + fake)"))
    monkeypatch.syspath_prepend(here)
    exec((here / "tests" / "test_changed_loss.py").read_text(), defined)
    with pytest.raises(AssertionError):
        defined["test_the_loss_approaches_the_hinge_loss_as_the_temperature_goes_to_zero"]()
    defined["test_the_gradient_is_that_of_finite_differences"]()


def test_the_experiment_compares_the_loss_with_the_default(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["init", "to=.", "name=mine"]) == 0
    monkeypatch.setenv("SADDLEPOINT_ALLOW_TARGET", "mine")
    config = saddlepoint.compose(["experiment=mine", "objective=mine"], config_dir="conf")
    assert config.objective.discriminator._target_ == "mine.discriminator"
    design = yaml.safe_load((here / "conf" / "experiment" / "mine.yaml").read_text())["many"]
    assert design["loss"] == {"nonsaturating": ["objective=nonsaturating"], "mine": ["objective=mine"]}
    assert {path.name for path in here.iterdir()} == {
        "README.md",
        "mine.py",
        "conf",
        "tests",
        "pytest.ini",
        ".gitignore",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["to=full"], "to=full is not empty, and no file is replaced: name a new folder"),
        (["to=new", "name=hinge"], "name=hinge: objective=hinge is built in; choose another name"),
        (["to=new", "name=torch"], "name=torch: Python has a module of this name already; choose another, such as"),
        (["to=new", "name=my-loss"], "name=my-loss becomes a Python module: use lower-case letters, digits and _"),
        (["to=new", "name=class"], "name=class becomes a Python module"),
        (["to=full/a.txt/new"], "cannot write"),
        ([], "to has no value yet: add to=..."),
    ],
)
def test_a_mistake_is_a_line_and_writes_nothing(
    here: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "full").mkdir()
    (here / "full" / "a.txt").write_text("mine")
    assert main(["init", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in here.rglob("*")] == ["full", "a.txt"]
