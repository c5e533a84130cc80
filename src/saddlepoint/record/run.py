"""A run's folder on disk: the local record, which is the source of truth for everything that reads runs later.

config.yaml  provenance.json  metrics.jsonl  summary.json  evaluations.jsonl  samples/  checkpoints/  snapshots/  wandb/
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from saddlepoint.error import Mistake


class Run:
    """Paths of one run, and its small files, each written whole or not at all."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json as it stands, {} where there is none."""
        return read_json(self.folder / "summary.json")

    def update_summary(self, **changes: Any) -> None:
        """Put `changes` into summary.json."""
        write(self.folder / "summary.json", json.dumps({**self.summary, **changes}, indent=2) + "\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder, by a file beside it; a lock dies with its process.

        Raises Mistake where a live process holds it, or where nothing can be written there.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_file)
            lock.acquire(timeout=0)
        except Timeout:
            raise Mistake(
                f"{self.folder} is in use: another process is training there. Wait for it, or give this run a name=..."
            ) from None
        except OSError as error:
            raise unwritable(self.folder, error) from None
        try:
            yield
        finally:
            lock.release()

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

    @property
    def _lock_file(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.lock")

    def rows(self) -> Iterator[dict[str, Any]]:
        """metrics.jsonl, event by event; a line cut short by a crash is left out."""
        yield from self.events()[0]

    def events(self, file: str = "metrics.jsonl") -> tuple[list[dict[str, Any]], int]:
        """The objects of a .jsonl file of this run, in order; and how many of its lines hold none."""
        path = self.folder / file
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        found = [row for line in lines if isinstance(row := _parsed(line), dict)]
        return found, len(lines) - len(found)

    def rewind(self, images: int) -> None:
        """Drop what metrics.jsonl says of later than `images`, later snapshots, and final scores: all comes again."""
        kept = [row for row in self.rows() if row["images"] <= images and not row.get("final")]
        if self.metrics.exists():
            write(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        for path in self.snapshots.glob("*.safetensors"):
            if path.stem.isdigit() and int(path.stem) > images:
                path.unlink()

    def append(self, file: str, row: Mapping[str, Any]) -> None:
        """Add one line to a .jsonl file of this run, in one write."""
        path = self.folder / file
        try:
            with path.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
        except OSError as error:
            raise unwritable(path, error) from None

    def move_aside(self) -> Path:
        """Rename the folder to <folder>-old<k> with the first free k; returns where it went."""
        k = 1
        while (aside := self.folder.with_name(f"{self.folder.name}-old{k}")).exists():
            k += 1
        self.folder.rename(aside)
        return aside


def write(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader, or a crash, sees the old one or the new.  Raises Mistake if it cannot."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise unwritable(path, error) from None


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON file, {} where there is none.  Raises Mistake where it is broken."""
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise Mistake(f"{path} is not readable ({error}); move it away and run again") from None


def _parsed(line: str) -> Any:
    """What a line of JSON says; None where it says nothing."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def unwritable(path: Path, error: OSError) -> Mistake:
    """What to say where the operating system refuses a write."""
    return Mistake(
        f"cannot write {path}: {error.strerror or error}. Free some space or choose another place: outputs=..."
    )
