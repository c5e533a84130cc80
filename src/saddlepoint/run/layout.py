"""The layout of run folders: which folders are runs, and which hidden files belong to a run.

<outputs>/<name>/seed<k>/                  a run, if it has a config.yaml
<outputs>/<name>/.seed<k>.lock             the lock file, held by the process that trains the run
<outputs>/<name>/.seed<k>.yaml, .log       the config that a training subprocess reads, and its output
<outputs>/<name>/seed<k>-old<j>/           a former run that was moved aside
"""

import re
from collections.abc import Iterator
from pathlib import Path

RUN = re.compile(r"seed(-?\d+)")
ASIDE = re.compile(r"seed-?\d+-old\d+")
SUBPROCESS_CONFIG = re.compile(r"\.(seed-?\d+)\.yaml")


def run_folder(outputs: str | Path, name: str, seed: int) -> Path:
    """Return the folder of a run, which need not exist."""
    return Path(outputs) / name / f"seed{seed}"


def hidden_sibling(folder: Path, kind: str) -> Path:
    """Return the hidden file next to the folder of a run; `kind` is lock, yaml or log."""
    return folder.with_name(f".{folder.name}.{kind}")


def folder_seed(folder: Path) -> int:
    """Return the seed in the name of a run folder; 0 for another name."""
    name_match = RUN.fullmatch(folder.name)
    return int(name_match[1]) if name_match else 0


def is_run(folder: Path) -> bool:
    return RUN.fullmatch(folder.name) is not None and (folder / "config.yaml").exists()


def find_runs(folder: Path) -> Iterator[Path]:
    """Yield the runs of a folder: itself, its seeds, or the seeds of the name folders in it, in numerical order."""
    if is_run(folder):
        yield folder
        return
    for child in _subfolders(folder):
        yield from (run for run in (child, *_subfolders(child)) if is_run(run))


def find_moved_aside(name: Path) -> list[Path]:
    """Return the former runs that were moved aside in the folder `name`."""
    return [path for path in sorted(name.iterdir()) if ASIDE.fullmatch(path.name)]


def find_planned_names(folder: Path) -> Iterator[Path]:
    """Yield the name folders, `folder` or those in it, with a subprocess config, whether or not its run has started."""
    if not RUN.match(folder.name):
        yield from (name for name in (folder, *_subfolders(folder)) if any(name.glob(".seed*.yaml")))


def find_unstarted_runs(name: Path) -> list[Path]:
    """Return the runs in the folder `name` that have a subprocess config but never started."""
    matches = (SUBPROCESS_CONFIG.fullmatch(path.name) for path in sorted(name.iterdir()))
    runs = [name / name_match[1] for name_match in matches if name_match]
    return [run for run in runs if not (run / "config.yaml").exists()]


def files_by_images(folder: Path, suffix: str) -> dict[int, Path]:
    """Return the files <images><suffix> of a folder (grids, snapshots) by images, in ascending order."""
    files = {int(path.stem): path for path in folder.glob(f"*{suffix}") if path.stem.isdigit()}
    return dict(sorted(files.items()))


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted; none for a run folder, which contains no other runs."""
    if not folder.is_dir() or RUN.match(folder.name):
        return []
    children = [child for child in folder.iterdir() if child.name[0] != "." and child.is_dir()]
    return sorted(children, key=lambda child: (folder_seed(child), child.name))
