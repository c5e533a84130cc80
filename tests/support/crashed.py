"""The states that crashes leave on disk, in a module that other processes can import.

A SIGKILL leaves the result of all file operations so far. Copies of a run folder before each operation, and in the
middle of each write, are therefore the results of all possible crashes.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import shutil
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from resumed import to_plain
from rich.console import Console

from saddlepoint.config.compose import compose
from saddlepoint.experiment.train import train
from saddlepoint.run.folder import Run
from saddlepoint.run.storage.atomic import UNFINISHED

SMALL = ["data=point", "architecture=dirac", "logger=none", "batch=16", "images=64",
         "callback.checkpoint.images_between=32", "callback.journal.images_between=16", "name=run"]  # fmt: skip
PLAIN = [*SMALL, "callback=[finite,checkpoint,journal]", "evaluation.extractor=null"]
SCORED = [*SMALL, "callback=[finite,evaluation,snapshot,journal,checkpoint]", "callback.evaluation.images_between=32",
          "callback.snapshot.images_between=32", "evaluation.n=64", "metric=[frechet_distance]"]  # fmt: skip
_composed = cache(lambda *overrides: compose(list(overrides)))
CLOCKS = {"seconds", "images_per_second"}


def train_run(overrides, root):
    """Train `overrides` below `root`; return the run folder."""
    return train(_composed(*overrides, f"outputs={root}"), Console(quiet=True)).folder


def run_result(folder):
    """The result of a run: checkpoints (tensors as bytes), curve without times, summary, file names."""
    import torch

    run = Run(folder)
    checkpoints = {
        path.name: to_plain(torch.load(path, weights_only=True)) for path in sorted(run.checkpoints.glob("*.ckpt"))
    }
    rows = [{key: value for key, value in row.items() if key not in CLOCKS} for row in run.rows()]
    summary = {key: run.summary[key] for key in ("status", "exit", "images", "final")}
    return checkpoints, rows, summary, sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class Disk:
    """A context manager that copies all files below `root` before each file operation; `.states` has each state once.

    States that differ only in the content of unfinished files are equal, because nothing should read these; `.peeked`
    lists those that were read.
    """

    def __init__(self, root):
        self.root, self.states, self.peeked, self.operations, self._keys = Path(root), [], [], 0, set()

    def __enter__(self):
        self._undo = []
        for module, names in ((os, "replace rename unlink remove mkdir rmdir fsync"), (io, "open"), (builtins, "open")):
            for name in names.split():
                original = getattr(module, name)
                self._undo.append((module, name, original))
                setattr(module, name, self._opened(original) if name == "open" else self._watched(original))
        return self

    def __exit__(self, *error):
        for module, name, original in self._undo:
            setattr(module, name, original)
        self.look()

    def look(self):
        """Copy the files below the root if the state is new."""
        self.operations += 1
        state = {}
        for folder, folders, files in os.walk(self.root):
            state |= {str(Path(folder, name).relative_to(self.root)): None for name in folders}
            state |= {str(Path(folder, name).relative_to(self.root)): Path(folder, name) for name in files}
        state = {name: path and _content(path) for name, path in state.items() if not name.endswith(".lock")}
        key = frozenset(
            (name, hashlib.sha256(content).digest() if content is not None else None)
            if not UNFINISHED.fullmatch(Path(name).name)
            else (UNFINISHED.sub("making", Path(name).name), bool(content))
            for name, content in state.items()
        )
        if key not in self._keys:
            self._keys.add(key)
            self.states.append(state)

    def put(self, state):
        """Restore a state; unfinished files get the pid of a process that does not exist."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name, content in sorted(state.items()):
            path = self.root / name.replace(f".{os.getpid()}", ".4194305")
            path.mkdir(parents=True) if content is None else path.write_bytes(content)

    def _below(self, path):
        return isinstance(path, str | os.PathLike) and Path(os.fspath(path)).is_relative_to(self.root)

    def _watched(self, original):
        def operation(*args, **kwargs):
            if isinstance(args[0], int) or self._below(args[0]):
                self.look()
            return original(*args, **kwargs)

        return operation

    def _opened(self, original):
        def opened(path, mode="r", *args, **kwargs):
            if not self._below(path):
                return original(path, mode, *args, **kwargs)
            if set(mode) & set("wax"):
                self.look()
                return _File(original(path, mode, *args, **kwargs), self.look)
            if UNFINISHED.fullmatch(Path(path).name):
                self.peeked.append(str(path))
            return original(path, mode, *args, **kwargs)

        return opened


class _File:
    """A file each of whose writes is two, with a look after either."""

    def __init__(self, file, look):
        self._file, self._look = file, look

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()
        self._look()

    def write(self, content):
        half = len(content) // 2
        for chunk in (content[:half], content[half:]):
            self._file.write(chunk)
            self._file.flush()
            self._look()
        return len(content)


_read = io.open


def _content(path):
    with _read(path, "rb") as file:
        return file.read()


@contextmanager
def record_states(root):
    """Record the states of `root` in this context."""
    disk = Disk(root)
    with disk:
        yield disk
