"""The pages of docs/ for newcomers: their commands compose and run, notebooks run, and the site builds strictly."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from packing import packed
from PIL import Image

from saddlepoint.cli import main
from saddlepoint.config import catalogue
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
START = DOCS / "getting_started.md"
PAGES = [
    START,
    *sorted((DOCS / "tutorials").glob("*.md")),
    DOCS / "composing.md",
    DOCS / "cheat_sheet.md",
    ROOT / "README.md",
]
FOLDERS = ("photos", "drawings", "paintings", "summer", "winter")  # that the pages name
ELSEWHERE = (
    "my_gan",
    "--config-dir",
    "--nnodes",
    "srun",
    "<",
    "...",
    "devices=",
    "submitit",
    "samples=",
)  # other tests run these


def commands(page: Path) -> list[str]:
    """The saddlepoint commands of a page's code blocks, without comments; lines that end in a backslash are joined."""
    text = re.sub(r" *\\\n +", " ", page.read_text("utf-8"))
    lines = re.findall(r"^    (saddlepoint .*)$", text, re.MULTILINE)
    return [re.sub(r"  +#.*", "", line).strip() for line in lines]


def cheat_sheet_overrides() -> list[str]:
    """The overrides of train in the tables of the cheat sheet."""
    tables = (DOCS / "cheat_sheet.md").read_text("utf-8").partition("## Losses")[2]
    cells = [line.split(" | ")[1] for line in tables.splitlines() if line.startswith("| ") and "`" in line]
    codes = [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]
    return [code for code in codes if not code.startswith("saddlepoint")]


TRAININGS = sorted(
    {line.partition("train ")[2] for page in PAGES for line in commands(page)
     if line.startswith("saddlepoint train ") and not any(mark in line for mark in ELSEWHERE)}
    | set(cheat_sheet_overrides())
)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with small folders of the names that the pages use."""
    folder = tmp_path_factory.mktemp("reader")
    generator = np.random.default_rng(0)
    for name in FOLDERS:
        (folder / name).mkdir()
        for i in range(40):
            size = (40, 36, 3) if name == "photos" else (64, 64, 3)
            path = folder / name / ("cat", "dog")[i % 2] / f"{name * (name in ('summer', 'winter'))}{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(generator.integers(0, 256, size, np.uint8)).save(path)
    return folder


def single_run(words: str) -> str:
    """The overrides of the first run of a training: without -m and --cfg, and the first of several values."""
    overrides = [override for override in shlex.split(words) if override not in ("-m", "--cfg", "job")]
    single = [re.sub(r"=([^\[\]{}'\"=]+?),.*", r"=\1", override) for override in overrides]
    return shlex.join(override for override in single if not override.startswith("launcher"))


@pytest.mark.parametrize("command", packed({single_run(words) for words in TRAININGS}))
def test_the_trainings_of_the_pages_compose_and_pass_the_check(
    command: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    check(compose(shlex.split(command)))


def test_the_pages_have_commands() -> None:
    assert len(TRAININGS) > 50
    assert {line.split()[1] for page in PAGES for line in commands(page)} <= set(catalogue.COMMANDS)


@pytest.mark.slow  # ten trainings, a comparison and an export: a minute
def test_every_command_of_getting_started_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    small = ["images=640", "metric=[frechet_distance]", "evaluation.second_extractor=null", "logger=none"]
    ran = []
    assert main(["train", *small]) == 0  # make train
    for line in commands(START):
        _, command, *words = shlex.split(line.replace("seed=0,1,2,3", "seed=0,1"))
        if words == ["--help"] or "--cfg" in words:
            assert main([command, *words]) == 0
            continue
        if command == "train":
            words = [override for override in words if not override.startswith("images=")] + small
        if command == "compare":
            words = [*words, "logger.mode=disabled"]
        names = sorted((here / "outputs" / "first").glob("digits-*")) if (here / "outputs" / "first").exists() else []
        words = [override.replace("<name>", names[0].name) if names else override for override in words]
        assert main([command, *words]) == 0, line
        ran.append(command)
    assert set(ran) >= {"train", "runs", "compare", "sample", "evaluate", "export"}
    assert (here / "outputs" / "index.html").exists()


@pytest.mark.slow  # trains, and measures 450 samples
def test_a_trial_of_the_wandb_sweep_logs_the_score_that_it_minimises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arguments are those that W&B's agent makes of a trial's values."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    monkeypatch.chdir(tmp_path)
    page = (DOCS / "tutorials" / "wandb_sweeps.md").read_text("utf-8")
    sweep = yaml.safe_load(re.search(r"```yaml\n# sweep.yaml\n(.*?)```", page, re.DOTALL)[1])
    values = {name: node.get("values", [node.get("min")])[-1] for name, node in sweep["parameters"].items()}
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    program, *words = sweep["command"]
    assert (program, words[-1]) == ("saddlepoint", "${args_no_hyphens}")
    small = ["images=640", "logger.mode=offline", "metric=[frechet_distance]", "evaluation.second_extractor=null"]
    assert main([*words[:-1], *arguments["args_no_hyphens"], *small]) == 0
    (summary,) = tmp_path.glob("outputs/digits-mlp-hinge-*/seed0/summary.json")
    assert sweep["metric"]["name"] in json.loads(summary.read_text())["final"]


@pytest.mark.slow  # half a minute
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """A broken link, a missing page of the navigation or an unknown anchor is an error."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    hinge = (tmp_path / "reference" / "objective.html").read_text("utf-8")
    assert "max(0, 1 - D(x))" in hinge
    assert 'href="https://arxiv.org/abs/1705.02894"' in hinge
    assert "conf/objective/hinge.yaml" in hinge


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL_CELLS = {r"images=[\d_]+": "images=640", r"range\(\d+\)": "range(2)"}


@pytest.mark.slow  # seconds each, but each trains
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells)
    for pattern, small in SMALL_CELLS.items():
        code = re.sub(pattern, small, code)
    script = tmp_path / "notebook.py"
    script.write_text("import matplotlib\nmatplotlib.use('Agg')\ndisplay = print\n" + code, encoding="utf-8")
    process = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_there_are_three_notebooks_without_magics_and_with_their_outputs() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert not [line for cell in cells for line in cell["source"] if line.startswith(("!", "%"))]
        assert any(cell["outputs"] for cell in cells), f"{path.name} was saved without outputs"
