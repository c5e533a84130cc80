"""The files of a comparison: written beside each other in a hidden folder that takes its name when all are there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from saddlepoint.error import Mistake
from saddlepoint.run.folder import unwritable, write
from saddlepoint.run.storage import atomic

MARK = "report.html"  # what makes a folder a comparison's, which another may replace
KEPT = "wandb"  # of the one that is replaced


def place(to: Path) -> None:
    """Raises Mistake where `to` holds something else than a former comparison."""
    if to.exists() and not (to.is_dir() and ((to / MARK).exists() or not any(to.iterdir()))):
        raise Mistake(f"to={to} is there and holds no comparison; choose another folder")


def written(to: Path, files: Mapping[str, str | bytes]) -> Path:
    """The folder `to` with these files in the place of a former comparison.  Raises Mistake where it cannot be."""
    place(to)
    try:
        with atomic.folder(to) as draft:
            for name, content in files.items():
                write(draft / name, content)
            if (to / KEPT).exists():
                (to / KEPT).rename(draft / KEPT)
            if to.exists():
                shutil.rmtree(to)
    except OSError as error:
        raise unwritable(to, error) from None
    return to
