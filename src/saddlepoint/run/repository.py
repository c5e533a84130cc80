"""A file's standing in its git repository: committed as it is, edited since, or nowhere.

A tolerance that is chosen after the numbers are known is worth nothing, so what a verdict is measured by has to stand
in a commit, and the commit that last touched it is put on record.
"""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMITTED, EDITED, UNCOMMITTED, OUTSIDE = "committed", "edited", "not committed", "in no repository"


@dataclass(frozen=True)
class GitStatus:
    """Of a file: COMMITTED, EDITED since, UNCOMMITTED in a repository, or OUTSIDE any."""

    state: str
    sha256: str  # of its content
    commit: str | None = None  # that touched it last
    date: str | None = None  # of that commit, ISO 8601


def git_status(path: Path) -> GitStatus:
    """How `path` stands against the last commit of the repository that it lies in."""
    path = path.resolve()
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if _git(path.parent, "rev-parse", "--show-toplevel") is None:
        return GitStatus(OUTSIDE, sha256)
    known = _git(path.parent, "show", f"HEAD:./{path.name}")
    if known is None:
        return GitStatus(UNCOMMITTED, sha256)
    last = (_git(path.parent, "log", "-1", "--format=%H %cI", "--", path.name) or b" ").decode().split()
    commit, date = last if len(last) == 2 else (None, None)
    return GitStatus(COMMITTED if known == content else EDITED, sha256, commit, date)


def is_clean(folder: Path) -> bool:
    """Whether all files in `folder`, new ones too, are as in the last commit; True in no repository."""
    return not _git(folder.resolve(), "status", "--porcelain", "--untracked-files=all", "--", ".")


def current_commit(folder: Path) -> dict[str, Any] | None:
    """The git commit that `folder` is at, and whether files differ from it; None outside a repository."""
    head, status = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return None if head is None or status is None else {"commit": head.decode().strip(), "dirty": bool(status.strip())}


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git says, None where it refuses or is not there."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
