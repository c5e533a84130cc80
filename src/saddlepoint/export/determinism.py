"""Random numbers that a generator draws while it makes samples: no file can hold them, since nobody could say which.

Noise that is a part of the latent, or a named draw, is an input like any other.
"""

import random
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.game.sampling import DROPOUT
from saddlepoint.stream import global_random_state, set_global_random_state
from saddlepoint.turn import tensors_in

REMEDY = (
    "a file gives one sample for one input, so the noise has to be an input: a part of the latent (prior.<part>) or a "
    "named draw (game.draws.<name>) that stands in the condition"
)
Call = tuple[str, bytes, bytes]  # which layer, what it was given, what it gave


def check_no_dropout(networks: Mapping[str, nn.Module]) -> None:
    """Raises Mistake where a layer drops out; to be called where samples keep dropout on (`game.dropout`)."""
    for name, network in networks.items():
        for path, layer in network.named_modules(prefix=name):
            if isinstance(layer, DROPOUT) and layer.p > 0:
                raise Mistake(
                    f"{path} ({type(layer).__name__}) is on where samples are made (game.dropout=true): {REMEDY}"
                )


@torch.no_grad()
def check_deterministic(networks: nn.ModuleDict, whole: nn.Module, latent: Any, condition: Any) -> None:
    """Raises Mistake where `whole`, asked twice with the same inputs, makes different samples.

    The global generators (torch's, numpy's, Python's) start at another seed the second time, and end as they began.
    """
    state = global_random_state()
    try:
        first, second = (_samples(whole, latent, condition, seed) for seed in (0, 1))
        if torch.allclose(first, second, rtol=0.0, atol=0.0, equal_nan=True):
            return
        calls = [_calls(networks, whole, latent, condition, seed) for seed in (0, 1)]
    finally:
        set_global_random_state(state)
    # the layer that gave something else of the same; a layer within another ends before it
    pairs = zip(*calls, strict=False)
    where = next((one[0] for one, other in pairs if one[:2] == other[:2] and one[2] != other[2]), "the generator")
    raise Mistake(f"{where} makes another sample of the same input when it is asked again: {REMEDY}")


def _samples(whole: nn.Module, latent: Any, condition: Any, seed: int) -> Tensor:
    for start in (torch.manual_seed, np.random.seed, random.seed):
        start(seed)
    return whole(latent, condition)


def _calls(networks: nn.ModuleDict, whole: nn.Module, latent: Any, condition: Any, seed: int) -> list[Call]:
    """Each call of a layer, in the order in which they end."""
    found: list[Call] = []
    given: list[bytes] = []

    def before(layer: nn.Module, args: Any, keywords: Any) -> None:
        given.append(_digest([args, keywords]))

    def after(name: str, layer: nn.Module, args: Any, keywords: Any, output: Any) -> None:
        found.append((name, given.pop(), _digest(output)))

    with ExitStack() as hooks:
        for path, layer in networks.named_modules():
            if path:
                name = f"{path} ({type(layer).__name__})"
                hooks.enter_context(layer.register_forward_pre_hook(before, with_kwargs=True))
                hooks.enter_context(layer.register_forward_hook(partial(after, name), with_kwargs=True))
        _samples(whole, latent, condition, seed)
    return found


def _digest(value: Any) -> bytes:
    """sha256 of the tensors in a nested value."""
    digest = sha256()
    for tensor in tensors_in(value):
        digest.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return digest.digest()
