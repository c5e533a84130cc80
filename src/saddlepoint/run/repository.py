"""The git status of files: committed, edited since, not committed, or in no repository.

A tolerance that is chosen after the results are known is worth nothing.  So the file that defines a verdict must be
committed, and the commit that last changed it is recorded.
"""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMITTED, EDITED, UNCOMMITTED, OUTSIDE = "committed", "edited", "not committed", "in no repository"


@dataclass(frozen=True)
class GitStatus:
    """The git status of a file: COMMITTED, EDITED since, UNCOMMITTED, or OUTSIDE any repository."""

    state: str
    sha256: str  # of the content
    commit: str | None = None  # the last commit that changed it
    date: str | None = None  # of that commit, ISO 8601


def file_git_status(path: Path) -> GitStatus:
    """Compare the file `path` with the last commit of its repository."""
    path = path.resolve()
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if _git_output(path.parent, "rev-parse", "--show-toplevel") is None:
        return GitStatus(OUTSIDE, sha256)
    committed = _git_output(path.parent, "show", f"HEAD:./{path.name}")
    if committed is None:
        return GitStatus(UNCOMMITTED, sha256)
    last = (_git_output(path.parent, "log", "-1", "--format=%H %cI", "--", path.name) or b" ").decode().split()
    commit, date = last if len(last) == 2 else (None, None)
    return GitStatus(COMMITTED if committed == content else EDITED, sha256, commit, date)


def is_clean(folder: Path) -> bool:
    """Whether all files in `folder`, including new ones, are committed; True outside a repository."""
    return not _git_output(folder.resolve(), "status", "--porcelain", "--untracked-files=all", "--", ".")


def commit_state(folder: Path) -> dict[str, Any] | None:
    """Return the current git commit of `folder`, and whether files differ from it; None outside a repository."""
    head, status = _git_output(folder, "rev-parse", "HEAD"), _git_output(folder, "status", "--porcelain")
    return None if head is None or status is None else {"commit": head.decode().strip(), "dirty": bool(status.strip())}


def changed_files(folder: Path, most: int = 3) -> str:
    """Return the first files of `folder` that differ from its commit or are new, joined by commas."""
    status = _git_output(folder, "status", "--porcelain", "--untracked-files=all", "--", ".")
    lines = (status or b"").decode(errors="replace").splitlines()
    return ", ".join([line[3:] for line in lines[:most]] + ["..."] * (len(lines) > most))


def _git_output(folder: Path, *arguments: str) -> bytes | None:
    """Return the output of a git command; None if it fails or git is not installed."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
