"""Where runs lie: which folders are runs, and what lies beside one.

<outputs>/<name>/seed<k>/                  a run, from when its config.yaml is there
<outputs>/<name>/.seed<k>.lock             held by the process that trains it, which signs it
<outputs>/<name>/.seed<k>.yaml, .log       the frozen config that such a process is to read, and what it printed
<outputs>/<name>/seed<k>-old<j>/           a run that was moved aside, and is none any more
"""

import re
from collections.abc import Iterator
from pathlib import Path

RUN = re.compile(r"seed(-?\d+)")
ASIDE = re.compile(r"seed-?\d+-old\d+")
FROZEN = re.compile(r"\.(seed-?\d+)\.yaml")


def run_folder(outputs: str | Path, name: str, seed: int) -> Path:
    """The folder of a run, whether it is there or not."""
    return Path(outputs) / name / f"seed{seed}"


def hidden_file(folder: Path, kind: str) -> Path:
    """The hidden file of a run that lies beside its folder: `kind` is lock, yaml or log."""
    return folder.with_name(f".{folder.name}.{kind}")


def folder_seed(folder: Path) -> int:
    """The seed that a run's folder is named by; 0 for another name."""
    match = RUN.fullmatch(folder.name)
    return int(match[1]) if match else 0


def is_run(folder: Path) -> bool:
    return RUN.fullmatch(folder.name) is not None and (folder / "config.yaml").exists()


def find_runs(folder: Path) -> Iterator[Path]:
    """The runs of a folder: itself, those of its seeds, or of the names in it; seeds in the order of numbers."""
    if is_run(folder):
        yield folder
        return
    for child in _folders(folder):
        yield from (run for run in (child, *_folders(child)) if is_run(run))


def find_moved_aside(name: Path) -> list[Path]:
    """The former runs that were moved aside in the folder of a name."""
    return [path for path in sorted(name.iterdir()) if ASIDE.fullmatch(path.name)]


def find_planned_names(folder: Path) -> Iterator[Path]:
    """The folders of names, itself or in it, where a config is laid out for a run; perhaps the run was never begun."""
    if not RUN.match(folder.name):
        yield from (name for name in (folder, *_folders(folder)) if any(name.glob(".seed*.yaml")))


def find_unstarted_runs(name: Path) -> list[Path]:
    """The runs in the folder of a name that a config was laid out for and that left nothing."""
    frozen = (FROZEN.fullmatch(path.name) for path in sorted(name.iterdir()))
    runs = [name / match[1] for match in frozen if match]
    return [run for run in runs if not (run / "config.yaml").exists()]


def files_by_images(folder: Path, ending: str) -> dict[int, Path]:
    """The files of a folder that are named by images shown, <images><ending>, ascending: grids and snapshots."""
    named = {int(path.stem): path for path in folder.glob(f"*{ending}") if path.stem.isdigit()}
    return dict(sorted(named.items()))


def _folders(path: Path) -> list[Path]:
    """The folders in a folder; none in a run, whose parts are no runs."""
    if not path.is_dir() or RUN.match(path.name):
        return []
    there = [child for child in path.iterdir() if child.name[0] != "." and child.is_dir()]
    return sorted(there, key=lambda child: (folder_seed(child), child.name))
