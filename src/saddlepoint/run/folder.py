"""A run's folder on disk: the local record, which is the source of truth for everything that reads runs later.

config.yaml  provenance.json  metrics.jsonl  summary.json  evaluations.jsonl  samples/  checkpoints/  snapshots/  wandb/
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
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
    """The path of a metrics.jsonl that can be called for its content."""

    def __call__(self) -> Any:
        """A pandas DataFrame, a row per event, with columns images, rounds, seconds and one per key; NaN where an event
        has none.  Raises Mistake where pandas is not installed: Saddlepoint itself does not need it.
        """
        try:
            from pandas import DataFrame  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise Mistake(
                "run.metrics() needs pandas: pip install pandas. run.rows() gives the same events as dictionaries"
            ) from None
        return DataFrame(list(Run(self.parent).rows()))


class Run:
    """Paths of one run, and its small files, each written whole or not at all."""

    def __init__(self, folder: str | Path, writes: bool = True) -> None:
        """`writes` False: it is looked at alone; several ranks share a folder, and one of them writes."""
        self.folder, self.writes = Path(os.path.expanduser(folder)), writes
        self.config, self.samples = self.folder / "config.yaml", self.folder / "samples"
        self.checkpoints, self.snapshots = self.folder / "checkpoints", self.folder / "snapshots"
        self.metrics = Metrics(self.folder / "metrics.jsonl")  # `run.metrics()`: as a pandas DataFrame (see `rows`)
        self._lock_file = layout.hidden_file(self.folder, "lock")

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json as it stands, {} where there is none."""
        return read_json(self.folder / "summary.json")

    def update_summary(self, **changes: Any) -> None:
        """Put `changes` into summary.json."""
        self.write("summary.json", json.dumps({**self.summary, **changes}, indent=2) + "\n")

    def write(self, file: str, content: str) -> None:
        """Put `content` into a small file of this run, whole or not at all, where this process writes."""
        if self.writes:
            write_file(self.folder / file, content)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder, by a file beside it; a lock dies with its process.  Who does not write needs none.

        Where the run's folder was not begun in the meantime, the file and the folders made for it are taken away again.
        Raises Mistake where a live process holds it, or where nothing can be written there.
        """
        if not self.writes:
            yield
            return
        made = [path for path in self.folder.parents if not path.exists()]  # innermost first
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_file)
            lock.acquire(timeout=0)
        except Timeout:
            who = f" ({self.holder})" if self.holder else ""
            raise Mistake(
                f"{self.folder} is in use: another process is training there{who}. Wait for it, or give this run a "
                "name=..."
            ) from None
        except OSError as error:
            raise unwritable_error(self.folder, error) from None
        try:
            self.write_holder()
            yield
        finally:
            with contextlib.suppress(OSError):
                self._lock_file.write_text("", encoding="utf-8")
                if not self.folder.exists():
                    self._lock_file.unlink()  # while it is held: who waits for it sees that it is gone
                    for path in made:
                        path.rmdir()  # not where anything else lies by now
            lock.release()

    def write_holder(self) -> None:
        """Say beside the folder that this process holds it, or has begun one that will; for people alone."""
        with contextlib.suppress(OSError):
            self._lock_file.write_text(
                f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", encoding="utf-8"
            )

    @property
    def holder(self) -> str:
        """ "process 123, since <time>" of who holds the folder, where somebody does; "" where that is not known."""
        with contextlib.suppress(OSError):
            return self._lock_file.read_text(encoding="utf-8", errors="replace")
        return ""

    @property
    def in_use(self) -> bool:
        """Whether a live process holds the folder; False where that cannot be told."""
        if not self._lock_file.exists():
            return False
        try:
            with FileLock(self._lock_file, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a place where nobody can write, so nobody trains
            return False

    def rows(self) -> Iterator[dict[str, Any]]:
        """metrics.jsonl, event by event; a line cut short by a crash is left out."""
        yield from self.events()[0]

    def events(self, file: str = "metrics.jsonl") -> tuple[list[dict[str, Any]], int]:
        """The objects of a .jsonl file of this run, in order; and how many of its lines hold none."""
        path = self.folder / file
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        found = [row for line in lines if isinstance(row := parse_json(line), dict)]
        return found, len(lines) - len(found)

    def rewind(self, images: int) -> None:
        """Drop what metrics.jsonl says of later than `images`, later snapshots, and final scores: all comes again."""
        if not self.writes:
            return
        kept = [row for row in self.rows() if row["images"] <= images and not row.get("final")]
        if self.metrics.exists():
            write_file(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        for reached, path in layout.files_by_images(self.snapshots, ".safetensors").items():
            if reached > images:
                path.unlink()

    def append(self, file: str, row: Mapping[str, Any]) -> None:
        """Add one line to a .jsonl file of this run, in one write; one that a crash cut short stays apart."""
        if not self.writes:
            return
        path = self.folder / file
        try:
            with path.open("ab+") as lines:
                lines.seek(max(0, lines.seek(0, os.SEEK_END) - 1))
                cut = lines.read() not in (b"", b"\n")
                lines.write(("\n" * cut + json.dumps(row) + "\n").encode())
        except OSError as error:
            raise unwritable_error(path, error) from None

    def remove_unfinished_files(self) -> None:
        """Remove what a crash left of files that were being written.  Only for who holds the lock."""
        if self.writes and self.folder.is_dir():
            for folder in (self.folder, *(path for path in self.folder.iterdir() if path.is_dir())):
                for path in folder.glob(".*"):
                    if atomic.UNFINISHED.fullmatch(path.name):
                        path.unlink(missing_ok=True)

    def move_aside(self) -> Path:
        """Rename the folder to <folder>-old<k> with the first free k; returns where it went."""
        places = (self.folder.with_name(f"{self.folder.name}-old{k}") for k in count(1))
        return self.folder.rename(next(place for place in places if not place.exists()))


def write_file(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader, or a crash, sees the old one or the new.  Raises Mistake if it cannot."""
    try:
        atomic.write_atomic(path, content)
    except OSError as error:
        raise unwritable_error(path, error, len(content)) from None


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON file, {} where there is none.  Raises Mistake where it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise Mistake(f"{path} is not readable ({error}); move it away and run again") from None


def parse_json(line: str) -> Any:
    """What a line of JSON says; None where it says nothing."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def unwritable_error(path: Path, error: OSError, needed: int = 0, key: str = "outputs") -> Mistake:
    """What to say where the operating system refuses a write of `needed` bytes; `key` names another place."""
    figures = format_free_space(path.parent, needed) if error.errno in DISK_FULL else ""
    return Mistake(
        f"cannot write {path}: {error.strerror or error}{figures}. Free some space or choose another place: {key}=..."
    )


def format_free_space(folder: Path, needed: int) -> str:
    """What a write of `needed` bytes (0: of few) met in `folder`, in brackets; "" where the system does not say."""
    free = free_bytes(folder)
    takes = f"it takes {needed:,} bytes, " if needed else ""
    return "" if free is None else f" ({takes}{free:,} are free)"


def free_bytes(folder: Path) -> int | None:
    """The bytes that are free where `folder` lies; None where the system does not say."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None
