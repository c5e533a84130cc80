"""Somebody's TorchScript.  Read only: we write programs of torch.export, which have followed it.

A TorchScript is code, as PyTorch says: to read it is to trust whoever made it.  A plain pickle, which a .pt may be as
well, can do anything while it is being read, and is never read here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from saddlepoint.error import Mistake, first_line
from saddlepoint.export.format.program import quiet


def read(path: Path) -> Callable[..., Tensor]:
    """The module in a TorchScript file, in evaluation mode.  Raises Mistake where it is none, a pickle for one."""
    if not _is_script(path):
        raise Mistake(
            f"{path} is no TorchScript; a pickle may do anything when it is read, so it is not. Save the weights as "
            "safetensors (safetensors.torch.save_file(network.state_dict(), ...)) and say the class in generator.yaml"
        )
    try:
        with quiet():
            return torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise Mistake(f"{path} is a broken TorchScript: {first_line(error)}") from None


def _is_script(path: Path) -> bool:
    """Whether it is an archive that holds TorchScript's code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())
