"""What makes an extractor: the sha256 of a network of somebody's own, and of what it sees."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.modality import Modality


def network_sha256(network: nn.Module) -> str:
    """sha256 of what makes a network: each part's class, its source and plain settings, and every tensor.

    Tensors alone would let edited code, or another stride, read the old reals' features from the cache.
    """
    whole = hashlib.sha256()
    for path, part in network.named_modules():
        kind = type(part)
        plain = {key: value for key, value in vars(part).items() if key != "training" and _plain(value)}
        whole.update(f"{path} {kind.__module__}.{kind.__qualname__} {sorted(plain.items())}".encode())
        if not kind.__module__.startswith("torch."):
            whole.update(_source(kind).encode())
    tensors = {**dict(network.named_buffers()), **network.state_dict()}  # buffers: also those that are not saved
    for path, value in sorted(tensors.items()):
        if not isinstance(value, Tensor):
            whole.update(f"{path} {value!r}".encode())
            continue
        flat = value.detach().cpu().contiguous().reshape(-1)
        whole.update(f"{path} {value.dtype} {list(value.shape)}".encode() + flat.view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def seen_by(sha256: str, modality: Modality) -> str:
    """`sha256` of an extractor of what networks see, with the code and settings of a modality of somebody's own."""
    own = [kind for kind in type(modality).__mro__[:-1] if not kind.__module__.startswith("saddlepoint.")]
    if not own:
        return sha256
    settings = {key: value for key, value in vars(modality).items() if _plain(value)}
    code = [f"{kind.__module__}.{kind.__qualname__} {_source(kind)}" for kind in own]
    return hashlib.sha256(f"{sha256} {sorted(settings.items())} {code}".encode()).hexdigest()


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | str) or (isinstance(value, tuple | list) and all(map(_plain, value)))


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed into a console
        return ""
