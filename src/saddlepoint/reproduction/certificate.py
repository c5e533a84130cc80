"""The certificate of a reproduction: verdict and figures, what they were measured by, and who could do it again.

certificate.json is for programs, certificate.md for people; both say the same. Plain values only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from saddlepoint.run.folder import write


def record(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write certificate.json and certificate.md into `folder`; the path of the second."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "certificate.json", json.dumps(content, indent=2) + "\n")
    write(folder / "certificate.md", markdown(content))
    return folder / "certificate.md"


def markdown(content: Mapping[str, Any]) -> str:
    """The certificate as a page."""
    source = content["source"]
    place = ", ".join(f"{source[key]}" for key in ("paper", "arxiv", "place") if source.get(key))
    remarks = [f"**{remark}**" for remark in content["remarks"]]
    parts = [
        f"# {content['baseline']}, tier {content['tier']}: {content['verdict']}",
        *remarks,
        content["claim"],
        f"Source: {place}",
        *_headlines(content["headlines"], content["level"]),
        "## Runs\n\n" + _table(("arm", "seed", "status", "scores", "seconds", "folder"), _runs(content["runs"])),
        "## How it was made\n\n" + "\n".join(f"* {line}" for line in _origin(content)),
    ]
    return "\n\n".join(parts) + "\n"


def _headlines(headlines: Sequence[Mapping[str, Any]], level: float) -> Iterator[str]:
    for line in headlines:
        published, tolerance = line["published"], line["tolerance"]
        rows = [
            ("of", " minus ".join(line["arms"])),
            ("published", _published(published)),
            ("tolerance", f"{_range(tolerance['least'], tolerance['most'])}: {tolerance['why']}"),
            ("too good", "not stated" if line["suspicious"] is None else f"{line['suspicious']:g}"),
            ("here", f"{_number(line['mean'])}, n = {line['n']}"),
            (f"{level:.0%} interval", _interval(line["interval"])),
            ("distance from the target", _number(line["distance"])),
            *((f"each seed of {arm}", _each(values)) for arm, values in line["values"].items()),
        ]
        yield f"## {line['name']}: {line['verdict']}\n\n{line['why']}\n\n" + _table((line["metric"], ""), rows)


def _runs(runs: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    for run in runs:
        scores = ", ".join(f"{key} {_number(value)}" for key, value in run["scores"].items())
        status = f"{run['status']}{', was there' if run['reused'] else ''}"
        yield run["arm"], str(run["seed"]), status, scores, f"{run['seconds']:.0f}", f"`{run['folder']}`"


def _origin(content: Mapping[str, Any]) -> Iterator[str]:
    code, file = content["code"], content["file"]
    state = " (not clean)" if code["dirty"] else ""
    yield f"code: commit {code['commit']}{state}" if code["commit"] else f"code: version {code['version']}, installed"
    touched = f", last touched by {file['commit']} on {file['date']}" if file["commit"] else ""
    yield f"baseline: sha256 {file['sha256']}, {file['state']}{touched}"
    yield "command: `" + " ".join(content["argv"]) + "`"
    for name, sha256 in content["data"].items():
        yield f"data, {name}: sha256 {sha256}"
    for place in content["environments"]:
        packages = ", ".join(f"{name} {version}" for name, version in place["packages"].items() if version)
        hardware = ", ".join(f"{key} {value}" for key, value in place["hardware"].items() if value)
        yield f"environment: Python {place['python']}, {packages}; {hardware}"
    hours = content["hours"]
    yield f"hours: {hours['spent']:.3f} in all runs, {hours['expected_of_one']:g} expected of each; {content['ended']}"


def _table(head: Sequence[str], rows: Any) -> str:
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


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


def _interval(interval: Sequence[float] | None) -> str:
    return "none" if interval is None else f"{interval[0]:.6g} to {interval[1]:.6g}"


def _each(values: Mapping[Any, float | None]) -> str:
    return ", ".join(f"{seed}: {_number(value)}" for seed, value in values.items())


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
