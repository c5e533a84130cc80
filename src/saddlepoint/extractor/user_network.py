"""A network of somebody's own as an extractor, and the sha256 of what makes it and of what it sees."""

import hashlib
import inspect
import re
from collections.abc import Collection
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Extractor, Features, format_shape
from saddlepoint.modality import Modality, default_modality
from saddlepoint.stream import preserve_random_state


class UserNetwork(Extractor):
    """Any network of the user's: features [N, d], or these and logits [N, K], of samples as networks see them.

    It may return a tensor, a pair, or something with `.features` and `.logits`.  Its attribute `shape` (C, H, W) says
    what it takes; without one it takes samples of `shape`.  It is called in evaluation mode and has nothing to learn;
    images become floats in [-1, 1] before it, so any other scale (ImageNet's) is its own business.  `modality` None:
    the one that the shape implies.  Raises Mistake where two samples of noise do not go through it, or not alike.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        modality: Modality | None = None,
        reserved_names: Collection[str] = (),
    ) -> None:
        """`taken`: names of other extractors, which this one is not to have."""
        super().__init__()
        plain = re.sub(r"[^a-z0-9]+", "-", type(network).__name__.lower()).strip("-") or "module"
        self.name = f"{plain}-own" if plain in reserved_names else plain
        self.network = network.requires_grad_(False).eval()
        own = getattr(network, "shape", None)
        self.shape = tuple(own) if isinstance(own, list | tuple) else shape
        self.modality = modality or default_modality(self.shape)
        self.sha256 = sha256_with_modality(network_sha256(network), self.modality)
        found = self._tried(self.shape)
        self.dim = found.features.shape[1]
        self.classes = None if found.logits is None else found.logits.shape[1]

    def forward(self, x: Tensor) -> Features:
        self.network.eval()  # somebody else may hold it, and train it
        found = self.network(self.modality.to_float(x))
        if hasattr(found, "features"):
            found = found.features, getattr(found, "logits", None)
        features, logits, *rest = (*found, None) if isinstance(found, tuple) else (found, None)
        if rest not in ([], [None]) or not _rows(features, x) or not (logits is None or _rows(logits, x)):
            what = "neither features [N, d] nor a pair, features [N, d] and logits [N, K]"
            raise Mistake(
                f"the extractor {self.name} gives {what}, of {len(x)} samples of shape {format_shape(x.shape[1:])}."
            )
        return Features(*(None if part is None else part.to(torch.float32) for part in (features, logits)))  # pyright: ignore[reportArgumentType]

    def _tried(self, shape: tuple[int, ...]) -> Features:
        """What it says of two samples of noise."""
        draws = torch.Generator().manual_seed(0)
        x = self.modality.to_stored(torch.randn(2, *shape, generator=draws))
        x = x.to(next(chain(self.network.parameters(), self.network.buffers()), x).device)
        with preserve_random_state(), torch.no_grad():
            try:
                found, again, alone = self(x), self(x), self(x[:1])
            except Mistake:
                raise
            except Exception as error:  # whatever somebody's code may raise
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                scale = ", bytes as floats in [-1, 1]" if self.modality.planar else ""
                what = f"samples of shape {format_shape(shape)}{scale}"
                raise Mistake(f"the extractor {self.name} does not take {what}: {reason}") from error
        for part in found[:2]:
            if part is not None and not bool(part.isfinite().all()):
                raise Mistake(f"the extractor {self.name} gives values that are not finite, of samples of noise.")
        if not torch.equal(found.features, again.features):
            raise Mistake(f"the extractor {self.name} gives other features each time: it draws numbers in forward.")
        if not torch.allclose(
            found.features[:1], alone.features, rtol=1e-3, atol=1e-3 * float(alone.features.abs().mean())
        ):
            raise Mistake(f"the extractor {self.name} gives a sample other features when others stand beside it.")
        return found


def _rows(part: Any, x: Tensor) -> bool:
    """Whether `part` is a float tensor [N, d] for x of N samples."""
    return isinstance(part, Tensor) and part.is_floating_point() and part.dim() == 2 and len(part) == len(x)


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


def sha256_with_modality(sha256: str, modality: Modality) -> str:
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
