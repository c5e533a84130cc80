"""The console answers at once, says what it did by its exit code, and keeps a mistake to a line or two."""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig

from saddlepoint import __version__
from saddlepoint.cli import divided, main
from saddlepoint.config import catalogue
from saddlepoint.error import Mistake

CONSOLE = "import sys; from saddlepoint.cli import main; code = main(sys.argv[1:]); {after}; sys.exit(code)"
HEAVY = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "wandb", "sklearn", "scipy", "matplotlib"}
QUICK = [["--help"], ["train", "--help"], ["train", "--cfg", "job"], ["train", "imges=5"], ["train", "objective=hing"]]


def console(*words: str, after: str = "pass", cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CONSOLE.format(after=after), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, check=False)


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_a_quick_answer_imports_nothing_heavy(words: list[str]) -> None:
    answer = console(*words, after="print(*sys.modules, sep='\\n', file=sys.stderr)")
    loaded = set(answer.stderr.splitlines())
    assert "saddlepoint.cli" in loaded
    assert not HEAVY & loaded
    assert ("hydra" in loaded) == ("--help" not in words)  # a page of help is text


@pytest.mark.slow  # CPU seconds grow on a machine that is busy; which modules are loaded is tested above by default
def test_a_quick_answer_takes_at_most_three_times_the_import_of_hydra(tmp_path: Path) -> None:
    """CPU seconds, compiled code, medians of alternated runs: what a busy machine disturbs least."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    commands = {" ".join(words): [sys.executable, "-c", CONSOLE.format(after="pass"), *words] for words in QUICK[:4]}
    commands["hydra"] = [sys.executable, "-c", "import hydra"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(5):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, env=env, capture_output=True, check=False)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if turn:  # the first one compiles
                seconds[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    ratios = {name: statistics.median(times) / statistics.median(seconds["hydra"]) for name, times in seconds.items()}
    assert max(ratios.values()) <= 3, ratios


# ------------------------------------------------------------------------------------------------------- the answers


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(f"  {command}" in page for command in catalogue.COMMANDS)


@pytest.mark.parametrize("command", catalogue.COMMANDS)
def test_a_commands_help_shows_its_keys_with_their_comments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "-h"]) == 0
    page = capsys.readouterr().out
    for key, (value, comment) in catalogue.keys(command).items():
        if key not in catalogue.defaults(command):
            line = next(line for line in page.splitlines() if line.startswith(f"  {key} "))
            assert value in line
            assert comment in line


def test_help_for_training_shows_every_choice_the_default_starred_and_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "mine.yaml").write_text("a: 1\n")
    assert main(["train", "--help", "--config-dir", str(tmp_path)]) == 0
    page = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in page.splitlines() if line.startswith("  ") and line.strip()}
    for group in catalogue.groups():
        names = {name.rstrip("*") for name in lines[group]}
        assert names >= set(catalogue.members(group))
    assert "nonsaturating*" in lines["objective"]
    assert "coverage*" in lines["metric"]
    assert lines["objective"][-2:] == ["(yours:", "mine)"]


def test_our_yaml_reads_as_text_as_it_does_as_yaml() -> None:
    for command in catalogue.COMMANDS:
        whole = yaml.safe_load((catalogue.conf() / f"{command}.yaml").read_text())
        listed = [entry for entry in whole.pop("defaults", []) if entry != "_self_"]
        assert catalogue.defaults(command) == {group: names for entry in listed for group, names in entry.items()}
        read = catalogue.keys(command)
        assert {key for key in read if "." not in key} == set(whole)
        for key, (value, _) in read.items():
            outer, _, inner = key.partition(".")
            if value:
                assert yaml.safe_load(value) == (whole[outer][inner] if inner else whole[outer])


def test_cfg_prints_the_config_with_its_interpolations(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "job", "objective=hinge", "images=300_000"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["images"] == 300_000
    assert config["choice"]["objective"] == "hinge"
    assert config["game"]["players"]["generator"]["network"] == "${architecture.generator}"


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["saddlepoint", __version__]


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["train", "imges=5"], 1, ["saddlepoint: no such key: imges", "images"]),
        (["train", "--config-dir", "nowhere"], 1, ["nowhere", "no such folder"]),
        (["train", "--help", "--config-dir=nowhere"], 1, ["nowhere"]),
        (["evaluate"], 1, ["what is to be measured?", "run="]),
        (["sample"], 1, ["run has no value yet"]),
        (["trian"], 2, ["no such command: trian", "train"]),
        ([], 2, ["which command?", "doctor"]),
        (["train", "--cfgg", "job"], 2, ["--cfgg", "--cfg"]),
        (["train", "--cfg"], 2, ["--cfg job"]),
        (["train", "--cfg", "hydra"], 2, ["--cfg job"]),
        (["train", "--config-dir"], 2, ["--config-dir"]),
        (["evaluate", "-m", "run=a"], 2, ["-m is for saddlepoint train"]),
        (["train", "seed=1,2"], 1, ["saddlepoint train -m"]),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_a_code(
    words: list[str], code: int, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1].startswith("saddlepoint: ")
    assert "Traceback" not in told.err
    for part in parts:
        assert part in told.err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    script = f"{sys.executable} -c '{CONSOLE.format(after='pass')}' train --cfg job | head -n 1"
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert answer.stdout.startswith("name: ")
    assert answer.stderr == ""


# ---------------------------------------------------------------------------------------------------- handing over


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """Puts a function in the place of a command."""

    def put(command: str, function: Callable[..., Any]) -> None:
        module = ModuleType(f"saddlepoint.cli.{command}")
        module.command = function  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


def test_a_command_gets_its_config_and_the_rest_is_for_the_run(stand_in: Callable[..., None]) -> None:
    got: list[tuple[DictConfig, list[str]]] = []
    for command in catalogue.COMMANDS:
        stand_in(command, lambda config, rest, config_dir: got.append((config, rest)) or 0)
    assert main(["train", "batch=8"]) == 0
    assert main(["sample", "run=a", "n=4", "metric=[coverage]", "data.root=b", "+x=1"]) == 0
    assert main(["doctor", "data=mnist"]) == 0
    (train, none), (sample, rest), (doctor, nothing) = got
    assert (train.batch, none, doctor.data, nothing) == (8, [], "mnist", [])
    assert (sample.run, sample.n, rest) == ("a", 4, ["metric=[coverage]", "data.root=b", "+x=1"])


def test_words_are_divided_by_the_keys_of_the_command() -> None:
    assert divided(["run=a", "at=best", "images=5", "~n"], "evaluate") == (
        ["run=a", "at=best"],
        ["images=5", "~n"],
    )
    assert divided(["run=a", "n=5"], "train") == (["run=a", "n=5"], [])


class Told(KeyboardInterrupt):
    """As callback.halt.Halted, which takes seconds to import."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.exit = code


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (Mistake("two\nlines"), 1, "saddlepoint: two\nlines\n"),
        (KeyboardInterrupt(), 130, "saddlepoint: interrupted\n"),
        (Told(143), 143, "saddlepoint: interrupted\n"),
    ],
)
def test_how_a_command_ends_decides_the_exit_code(
    raised: BaseException, code: int, told: str, stand_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def command(config: DictConfig, rest: list[str], config_dir: str | None) -> int:
        raise raised

    stand_in("train", command)
    assert main(["train"]) == code
    assert capsys.readouterr().err == told


def test_a_bug_keeps_its_traceback(stand_in: Callable[..., None]) -> None:
    stand_in("train", lambda config, rest, config_dir: {}["missing"])
    with pytest.raises(KeyError):
        main(["train"])


def test_the_command_line_stays_whole_for_other_ranks(
    stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["saddlepoint", "train", "batch=8", "--config-dir", "."]
    seen: list[list[str]] = []
    stand_in("train", lambda config, rest, config_dir: seen.append(list(sys.argv)) or 0)
    monkeypatch.setattr(sys, "argv", list(line))
    assert main() == 0
    assert seen == [line]


@pytest.mark.parametrize("script", ["train", "evaluate", "sample"])
def test_a_script_is_the_command_of_its_name(script: str, checkout: Path, tmp_path: Path) -> None:
    path = checkout / "scripts" / f"{script}.py"
    answer = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"usage: saddlepoint {script}" in answer.stdout
    assert len(path.read_text().splitlines()) < 12


def test_a_researchers_own_piece_works_from_a_folder_outside_the_checkout(tmp_path: Path) -> None:
    """One .py and one .yaml of their own; the current folder is importable, and hides nothing of others."""
    files = {
        "work/conf/objective/mine.yaml": "generator: null\n"
        "discriminator: {_target_: mylosses.discriminator, _partial_: true, margin: 2.0}\n",
        "work/mylosses.py": "def discriminator(real, fake, margin=1.0): return margin\n",
        "work/colorsys.py": "raise RuntimeError('not this one')\n",
        "bin/saddlepoint.start.py": "import sys, types\n"
        "from saddlepoint.cli import main\n"
        "from saddlepoint.config.instantiate import instantiate\n"
        "def command(config, rest, config_dir):\n"
        "    import colorsys\n"
        "    print(config.choice.objective, instantiate(config.objective, 'objective')['discriminator'](1, 2))\n"
        "    return 0\n"
        "sys.modules['saddlepoint.cli.train'] = types.SimpleNamespace(command=command)\n"
        "sys.exit(main())\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    start = [sys.executable, tmp_path / "bin/saddlepoint.start.py", "train", "--config-dir", "conf", "objective=mine"]
    start += ["allow_target=[mylosses]"]
    answer = subprocess.run(start, capture_output=True, text=True, cwd=tmp_path / "work", check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "mine 2.0\n", "")


@pytest.mark.parametrize(
    ("package", "conf"), [("site/saddlepoint", "site/saddlepoint/conf"), ("src/saddlepoint", "conf")]
)
def test_a_wheel_reads_its_own_yaml_and_a_checkout_the_one_that_one_edits(
    package: str, conf: str, checkout: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkout / "src" / "saddlepoint", tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(checkout / "conf", tmp_path / conf)
    edited = tmp_path / conf / "prior" / "normal.yaml"
    edited.write_text(edited.read_text().replace("dim: 100", "dim: 321"))
    (tmp_path / "empty").mkdir()
    answer = console("train", "--cfg", "job", cwd=tmp_path / "empty", PYTHONPATH=str((tmp_path / package).parent))
    assert yaml.safe_load(answer.stdout)["prior"]["z"]["dim"] == 321
    assert list((tmp_path / "empty").iterdir()) == []


# ---------------------------------------------------------------------------- what a training does before it

WHAT = ("before the first round", r"before train\(\)", "environment for secrets")


def counted(checkout: Path, cache: Path) -> tuple[int, ...]:
    """Calls, modules, scans, readings of yaml and files read of one start, by benchmarks/startup.py."""
    line = [sys.executable, checkout / "benchmarks" / "startup.py", "images=2_000", "logger=none", f"cache={cache}"]
    told = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    numbers = [int(re.search(rf"{what} +([\d,]+) ", told)[1].replace(",", "")) for what in WHAT]
    return *numbers, *map(int, re.search(r"opened +(\d+) times, (\d+) files", told).groups())


def test_a_training_starts_within_its_budget_of_modules_and_readings(checkout: Path, tmp_path: Path) -> None:
    """With a cold cache, whose anchors are measured before the first round."""
    calls, modules, scans, opened, files = counted(checkout, tmp_path)
    assert calls <= 4_000
    assert modules <= 40
    assert scans == 1
    assert opened == files > 10, "each yaml once"


@pytest.mark.slow  # two starts
def test_a_training_starts_within_its_budget_of_calls(checkout: Path, tmp_path: Path) -> None:
    """With the extractor's statistics at hand; before there was a checked config it took 19,180."""
    counted(checkout, tmp_path)
    assert counted(checkout, tmp_path)[0] <= 3_000
