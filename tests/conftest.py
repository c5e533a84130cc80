"""Settings of every test and its subprocesses: one thread, no network, no files outside a temporary folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
QUIET = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
FOLDERS = {  # variable -> its folder in the temporary home of the session
    "SADDLEPOINT_CACHE": "cache/saddlepoint",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "WANDB_DIR": "wandb",
    "WANDB_CACHE_DIR": "cache/wandb",
    "WANDB_CONFIG_DIR": "config/wandb",
    "WANDB_DATA_DIR": "data/wandb",
    "MPLCONFIGDIR": "config/matplotlib",
    "TORCH_HOME": "cache/torch",
}
MEMORY, SPACE = Path("/dev/shm"), 4 * 2**30  # runs are written to memory if it has that many bytes: no wait for a disk
HOME = "SADDLEPOINT_TEST_HOME"  # set by the first process of the session and inherited by its workers


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before modules that read it are imported."""
    os.environ.update({**THREADS, **QUIET})
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > SPACE:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))  # where pytest creates temporary folders
    if HOME not in os.environ:
        os.environ[HOME] = tempfile.mkdtemp(prefix="saddlepoint-tests-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(HOME), ignore_errors=True))
    for variable, folder in FOLDERS.items():
        path = Path(os.environ[HOME], folder)
        path.mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(path)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Use one thread if torch is imported; do not import it otherwise."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def shared_cache() -> Path:
    """The session's cache of extractor weights and reference statistics."""
    return Path(os.environ["SADDLEPOINT_CACHE"])
