"""The provenance of a run: code, versions, machine, command."""

import importlib.metadata
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from saddlepoint.redaction import redact
from saddlepoint.run.repository import commit_state

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = ("saddlepoint", "torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "torchmetrics",
            "torch-fidelity", "wandb", "numpy", "scipy", "scikit-learn")  # fmt: skip


def provenance(data: dict[str, Any], seed: int, code: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of provenance.json at the start of a run; paths in the home folder start with ~.

    data  the description of the data (`Data.describe`)
    code  hashes of user-defined modules (config/own_code.py)
    """
    return {
        "started": timestamp(),
        "argv": redact(sys.argv),
        "seed": seed,
        "git": commit_state(CHECKOUT) if (CHECKOUT / "pyproject.toml").exists() else None,  # none in a wheel
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "hardware": hardware(),
        "data": data,
        **({"code": code} if code else {}),
    }


def timestamp() -> str:
    """Return the current time, UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def hardware() -> dict[str, Any]:
    """Describe the machine: system, processor, cores, memory, accelerators."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "accelerators": gpus or (["mps"] if torch.backends.mps.is_available() else []),
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def package_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
