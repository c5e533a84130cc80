"""Checks that a generator draws no random numbers while it makes samples: a file could not reproduce them.

Noise that is a part of the latent, or a named draw, is allowed: it is an input like any other.
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
    "named draw (game.draws.<name>) that is part of the condition"
)
Call = tuple[str, bytes, bytes]  # layer, digest of its inputs, digest of its output


def check_no_dropout(networks: Mapping[str, nn.Module]) -> None:
    """Raise Mistake if a layer has dropout.  Call it if dropout stays on while samples are made (`game.dropout`)."""
    for name, network in networks.items():
        for path, layer in network.named_modules(prefix=name):
            if isinstance(layer, DROPOUT) and layer.p > 0:
                raise Mistake(
                    f"{path} ({type(layer).__name__}) is on while samples are made (game.dropout=true): {REMEDY}. "
                    "game.dropout=false exports it without dropout"
                )


@torch.no_grad()
def check_deterministic(networks: nn.ModuleDict, module: nn.Module, latent: Any, condition: Any) -> None:
    """Raise Mistake if two calls of `module` with the same inputs make different samples.

    The global generators (torch's, numpy's, Python's) have another seed in the second call, and are restored.
    """
    state = global_random_state()
    try:
        first, second = (_seeded_samples(module, latent, condition, seed) for seed in (0, 1))
        if torch.allclose(first, second, rtol=0.0, atol=0.0, equal_nan=True):
            return
        calls = [_record_calls(networks, module, latent, condition, seed) for seed in (0, 1)]
    finally:
        set_global_random_state(state)
    # the first layer whose output differs for the same inputs; an inner layer ends before the layer that contains it
    pairs = zip(*calls, strict=False)
    layer = next((one[0] for one, other in pairs if one[:2] == other[:2] and one[2] != other[2]), "the generator")
    raise Mistake(f"{layer} makes different samples from the same input when it is called twice: {REMEDY}")


def _seeded_samples(module: nn.Module, latent: Any, condition: Any, seed: int) -> Tensor:
    for seed_generator in (torch.manual_seed, np.random.seed, random.seed):
        seed_generator(seed)
    return module(latent, condition)


def _record_calls(networks: nn.ModuleDict, module: nn.Module, latent: Any, condition: Any, seed: int) -> list[Call]:
    """Return every call of a layer, in the order in which the calls end."""
    calls: list[Call] = []
    input_digests: list[bytes] = []

    def before(layer: nn.Module, args: Any, kwargs: Any) -> None:
        input_digests.append(_hash_tensors([args, kwargs]))

    def after(name: str, layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        calls.append((name, input_digests.pop(), _hash_tensors(output)))

    with ExitStack() as hooks:
        for path, layer in networks.named_modules():
            if path:
                name = f"{path} ({type(layer).__name__})"
                hooks.enter_context(layer.register_forward_pre_hook(before, with_kwargs=True))
                hooks.enter_context(layer.register_forward_hook(partial(after, name), with_kwargs=True))
        _seeded_samples(module, latent, condition, seed)
    return calls


def _hash_tensors(value: Any) -> bytes:
    """Return the sha256 of the tensors in a nested value."""
    digest = sha256()
    for tensor in tensors_in(value):
        digest.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return digest.digest()
