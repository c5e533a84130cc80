"""Which folders are runs, for all commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from saddlepoint.run import layout
from saddlepoint.run.folder import Run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for path in ("a/seed10", "a/seed2", "a/seed0-old1", "b/seed0", "b/seed0/wandb/seed1", "c/copy", ".d/seed0"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "b" / "seed7").mkdir()  # not started
    for name in ("a/.seed2.yaml", "a/.seed3.yaml", "b/.seed0.lock", "b/.seed0.log"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "runs"),
    [
        (".", ["a/seed2", "a/seed10", "b/seed0"]),
        ("a", ["a/seed2", "a/seed10"]),
        ("b/seed0", ["b/seed0"]),
        ("b/seed7", []),
        ("a/seed0-old1", []),
        ("nowhere", []),
    ],
)
def test_a_run_is_a_seed_folder_with_a_config_at_most_two_levels_deep(outputs: Path, folder: str, runs: list) -> None:
    assert list(layout.find_runs(outputs / folder)) == [outputs / run for run in runs]


def test_former_and_unstarted_runs_are_found(outputs: Path) -> None:
    assert layout.find_moved_aside(outputs / "a") == [outputs / "a" / "seed0-old1"]
    assert layout.find_unstarted_runs(outputs / "a") == [outputs / "a" / "seed3"]
    assert list(layout.find_planned_names(outputs)) == [outputs / "a"]
    assert list(layout.find_planned_names(outputs / "a" / "seed2")) == []


def test_the_paths_of_a_run_follow_from_its_name_and_seed(outputs: Path) -> None:
    folder = layout.run_folder(outputs, "a", 2)
    assert folder == outputs / "a" / "seed2"
    assert layout.folder_seed(folder) == 2
    assert layout.hidden_sibling(folder, "lock") == outputs / "a" / ".seed2.lock"
    assert Run(folder).move_aside() == outputs / "a" / "seed2-old1"
    assert not layout.is_run(folder)


def test_the_layout_imports_neither_torch_nor_omegaconf() -> None:
    code = "import saddlepoint.run.layout, sys; assert not {'torch', 'omegaconf', 'hydra'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
