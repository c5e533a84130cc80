"""The folder of a run on disk, which is the source of truth for all commands that read runs.

config.yaml  provenance.json  metrics.jsonl  summary.json  evaluations.jsonl  samples/  checkpoints/  snapshots/  wandb/
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from saddlepoint.error import Mistake
from saddlepoint.run import layout
from saddlepoint.run.storage import atomic

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Metrics(type(Path())):
    """The path of a metrics.jsonl; a call returns its content as a table."""

    def __call__(self) -> Any:
        """Return a pandas DataFrame with one row per event and the columns images, rounds, seconds and one per key.

        The value of a key that an event does not have is NaN.  Raises Mistake if pandas, an optional package, is not
        installed.
        """
        try:
            from pandas import DataFrame  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise Mistake(
                "run.metrics() needs pandas: pip install pandas. run.rows() gives the same events as dictionaries"
            ) from None
        return DataFrame(list(Run(self.parent).rows()))


class Run:
    """The paths of one run, and access to its small files, which are written atomically."""

    def __init__(self, folder: str | Path, writes: bool = True) -> None:
        """writes  whether this process may write; of several ranks that share a folder, only one writes"""
        self.folder, self.writes = Path(os.path.expanduser(folder)), writes
        self.config, self.samples = self.folder / "config.yaml", self.folder / "samples"
        self.checkpoints, self.snapshots = self.folder / "checkpoints", self.folder / "snapshots"
        self.metrics = Metrics(self.folder / "metrics.jsonl")  # `run.metrics()` is a pandas DataFrame
        self._lock_file = layout.hidden_sibling(self.folder, "lock")

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json, {} if there is none."""
        return load_json(self.folder / "summary.json")

    def update_summary(self, **changes: Any) -> None:
        """Update summary.json with `changes`."""
        self.write("summary.json", json.dumps({**self.summary, **changes}, indent=2) + "\n")

    def write(self, file: str, content: str) -> None:
        """Write `content` to a small file of this run atomically, if this process may write."""
        if self.writes:
            write_file(self.folder / file, content)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder with a lock file next to it; the lock ends with its process.  Does nothing if not `writes`.

        If the folder of the run does not exist at the end, the lock file and the folders made for it are removed.
        Raises Mistake if another live process holds the lock, or if the lock file cannot be written.
        """
        if not self.writes:
            yield
            return
        new_folders = [path for path in self.folder.parents if not path.exists()]  # the innermost first
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_file)
            lock.acquire(timeout=0)
        except Timeout:
            owner = f" ({self.holder})" if self.holder else ""
            raise Mistake(
                f"{self.folder} is in use: another process is training there{owner}. Wait for it, or give this run "
                "another name=..."
            ) from None
        except OSError as error:
            raise unwritable_error(self.folder, error) from None
        try:
            self.write_holder()
            yield
        finally:
            with contextlib.suppress(OSError):
                if not self.folder.exists():
                    self._lock_file.unlink()  # while the lock is held, so that a waiting process sees it is gone
                    for path in new_folders:
                        path.rmdir()  # fails, and is suppressed, if the folder is not empty
            lock.release()

    def write_holder(self) -> None:
        """Write into the lock file which process holds the lock or starts the one that will; only for people."""
        with contextlib.suppress(OSError):
            self._lock_file.write_text(
                f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", encoding="utf-8"
            )

    @property
    def holder(self) -> str:
        """The process that holds the lock, or held it last, as "process 123, since <time>"; "" if unknown."""
        with contextlib.suppress(OSError):
            return self._lock_file.read_text(encoding="utf-8", errors="replace")
        return ""

    @property
    def in_use(self) -> bool:
        """Whether a live process holds the lock; False if that cannot be determined."""
        if not self._lock_file.exists():
            return False
        try:
            with FileLock(self._lock_file, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # nobody can write there, so nobody trains there
            return False

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the events of metrics.jsonl; a line truncated by a crash is skipped."""
        yield from self.events()[0]

    def events(self, file: str = "metrics.jsonl") -> tuple[list[dict[str, Any]], int]:
        """Return the objects of a .jsonl file of this run, in order, and the number of lines without an object."""
        path = self.folder / file
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        objects = [row for row in parse_json_lines(lines) if isinstance(row, dict)]
        return objects, len(lines) - len(objects)

    def discard_after(self, images: int) -> None:
        """Delete the events after `images` and the final scores from metrics.jsonl, and later snapshots.

        The resumed training writes all of them again.
        """
        if not self.writes:
            return
        kept = [row for row in self.rows() if row["images"] <= images and not row.get("final")]
        if self.metrics.exists():
            write_file(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        for reached, path in layout.files_by_images(self.snapshots, ".safetensors").items():
            if reached > images:
                path.unlink()

    def append(self, file: str, row: Mapping[str, Any]) -> None:
        """Append one line to a .jsonl file of this run, in one write; after a truncated line it starts a new line."""
        if not self.writes:
            return
        path = self.folder / file
        try:
            with path.open("ab+") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
                is_truncated = stream.read() not in (b"", b"\n")
                stream.write(("\n" * is_truncated + json.dumps(row) + "\n").encode())
        except OSError as error:
            raise unwritable_error(path, error) from None

    def remove_unfinished_files(self) -> None:
        """Delete temporary files that a crash has left.  The caller must hold the lock."""
        if self.writes and self.folder.is_dir():
            for folder in (self.folder, *(path for path in self.folder.iterdir() if path.is_dir())):
                for path in folder.glob(".*"):
                    if atomic.UNFINISHED.fullmatch(path.name):
                        path.unlink(missing_ok=True)

    def move_aside(self) -> Path:
        """Rename the folder to <folder>-old<k> with the first free k, and return the new path."""
        candidates = (self.folder.with_name(f"{self.folder.name}-old{k}") for k in count(1))
        return self.folder.rename(next(folder for folder in candidates if not folder.exists()))


def write_file(path: Path, content: str | bytes) -> None:
    """Write a small file atomically.  Raises Mistake if it cannot be written."""
    try:
        atomic.write_atomic(path, content)
    except OSError as error:
        raise unwritable_error(path, error, len(content)) from None


def load_json(path: Path) -> dict[str, Any]:
    """Load a small JSON file, {} if it does not exist.  Raises Mistake if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise Mistake(f"{path} is not readable ({error}); move it away and run again") from None


def parse_json(line: str) -> Any:
    """Parse a line of JSON; None if it is invalid."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def parse_json_lines(lines: Sequence[str]) -> list[Any]:
    """Parse each line of JSON; None for an invalid one.

    All at once, which takes a third of the time, if each line looks like an object and each gives one value.
    """
    if all(line.startswith("{") and line.endswith("}") for line in lines):
        with contextlib.suppress(json.JSONDecodeError):
            rows = json.loads(f"[{','.join(lines)}]")
            if len(rows) == len(lines):
                return rows
    return [parse_json(line) for line in lines]


def unwritable_error(path: Path, error: OSError, needed: int = 0, key: str = "outputs") -> Mistake:
    """Return the Mistake to raise if `path` cannot be written.

    needed  bytes of the write; 0: few
    key     the config key that sets another location
    """
    free_space = format_free_space(path.parent, needed) if error.errno in DISK_FULL else ""
    reason = f"{error.strerror or error}{free_space}"
    return Mistake(f"cannot write {path}: {reason}. Free some space or use another location: {key}=...")


def format_free_space(folder: Path, needed: int) -> str:
    """Format the free space in `folder`, and the `needed` bytes unless 0, in brackets; "" if it is unknown."""
    free = free_bytes(folder)
    size = f"it takes {needed:,} bytes, " if needed else ""
    return "" if free is None else f" ({size}{free:,} are free)"


def free_bytes(folder: Path) -> int | None:
    """Return the free bytes on the disk of `folder`; None if unknown."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None
