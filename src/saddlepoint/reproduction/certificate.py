"""The certificate of a reproduction: verdict and figures, what they were measured by, and who could do it again.

certificate.json is for programs, certificate.md for people; both say the same. Plain values only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saddlepoint.run.folder import write
from saddlepoint.template import render


def record(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write certificate.json and certificate.md into `folder`; the path of the second."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "certificate.json", json.dumps(content, indent=2) + "\n")
    write(folder / "certificate.md", markdown(content))
    return folder / "certificate.md"


def markdown(content: Mapping[str, Any]) -> str:
    """The certificate as a page."""
    return render("reproduction/certificate.md.j2", **content, published=_published, number=_number, range=_range)


def _published(published: Mapping[str, Any]) -> str:
    if published.get("value") is None:
        return published.get("said") or "no figure"
    spread = f" ± {published['spread']:g}" if published.get("spread") is not None else ""
    about = [published.get("spread_kind"), f"n = {published['n']}" if published.get("n") else None]
    told = ", ".join(str(part) for part in about if part)
    return f"{published['value']:g}{spread}" + (f" ({told})" if told else "")


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return f"at most {most:g}"
    return f"at least {least:g}" if most is None else f"{least:g} to {most:g}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
