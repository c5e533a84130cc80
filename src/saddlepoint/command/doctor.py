"""saddlepoint doctor: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from saddlepoint.command.build import cache_of
from saddlepoint.command.check import instantiate
from saddlepoint.command.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.metric import inception
from saddlepoint.metric.extractor import shipped
from saddlepoint.record.provenance import PACKAGES, hardware
from saddlepoint.record.tracker import logged_in, resolved_mode


class Finding(NamedTuple):
    """One line of the examination; `remedy` is empty where nothing is to be done."""

    what: str
    state: str
    well: bool
    remedy: str = ""


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Print the findings; 0 where nothing stands in the way of `saddlepoint train`, else 1."""
    table = Table(title="saddlepoint doctor", show_lines=False)
    for column in ("", "what", "state", "remedy"):
        table.add_column(column, overflow="fold")
    findings = list(examination(config))
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.well else "[yellow]!![/]", *finding[:2], finding.remedy)
    Console().print(table)
    return 0 if all(finding.well or finding.what not in NEEDED for finding in findings) else 1


NEEDED = ("python", "packages", "outputs", "cache", "digits", "classifiers")


def examination(config: DictConfig) -> Iterator[Finding]:
    """Everything that a run may need, one finding each."""
    yield _python()
    yield _packages()
    yield from _devices()
    for name in ("outputs", "cache"):
        yield _writable(name, Path(config.outputs) if name == "outputs" else cache_of(config))
    names = ["digits", "mnist", "fashion_mnist", *([str(config.data)] if config.data else [])]
    for name in dict.fromkeys(names):
        yield _data(name)
    yield _classifiers()
    yield _inception(cache_of(config))
    yield Finding("W&B", f"{'logged in' if logged_in() else 'not logged in'}, so runs are {resolved_mode()}", True,
                  "" if logged_in() else "nothing needs it; wandb login sends runs up from now on")  # fmt: skip


def _python() -> Finding:
    well = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", platform.python_version(), well, "" if well else "use Python 3.11, 3.12 or 3.13")


def _packages() -> Finding:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    remedy = f"missing: {', '.join(missing)}; make setup" if missing else ""
    return Finding("packages", ", ".join(versions), not missing, remedy)


def _devices() -> Iterator[Finding]:
    machine = hardware()
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    yield Finding(
        "cpu", f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads{memory}", True
    )
    names = machine["accelerators"]
    built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
    remedy = (
        "" if names else f"device=cpu is used; {built}, so look at the driver if there should be a GPU (nvidia-smi)"
    )
    yield Finding("accelerators", ", ".join(names) or "none", bool(names), remedy)


def _writable(name: str, path: Path) -> Finding:
    """Whether the first folder above `path` that exists can be written."""
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    well = there.is_dir() and os.access(there, os.W_OK)
    return Finding(
        name, str(path), well, "" if well else f"{there} cannot be written; set {name}=... to another folder"
    )


def _data(name: str) -> Finding:
    """Whether a data set is there, without downloading anything."""
    try:
        data = instantiate(compose([f"data={name}"]).data, "data")
        if missing := getattr(data, "missing", []):
            where = f"data.root={data.root}" if hasattr(data, "root") else name
            return Finding(
                name, "not here", False, f"downloaded on first use, or say where it is: {where} lacks {missing[0]}"
            )
        data.prepare_data()
        data.setup("fit")
        sizes = ", ".join(f"{part} {n:,}" for part, n in data.describe()["sizes"].items())
        return Finding(name, sizes, True)
    except Mistake as mistake:
        return Finding(name, "not usable", False, str(mistake))


def _classifiers() -> Finding:
    try:
        facts = [f"{name} ({fact['test_accuracy']:.2%} on its test split)" for name, fact in shipped().items()]
        return Finding("classifiers", ", ".join(facts), True)
    except Mistake as mistake:
        return Finding("classifiers", "broken", False, str(mistake))


def _inception(cache: Path) -> Finding:
    if path := inception.present(cache):
        return Finding("inception", str(path), True)
    return Finding(
        "inception",
        "weights not here",
        False,
        f"downloaded on first use; or put {inception.url()} in {cache / 'inception'}",
    )
