"""A user-defined network as an extractor, and the sha256 of its code, settings and tensors."""

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
    """Any user-defined network that maps samples to features [N, d], or to features and logits [N, K].

    It may return a tensor, a pair, or an object with `.features` and `.logits`.  Its attribute `shape` (C, H, W) is the
    expected shape of a sample; without it, `shape` is.  It is called in evaluation mode, without gradients. Images are
    floats in [-1, 1]; the network must convert any other range (ImageNet's) itself.  `modality` None: inferred from the
    shape.  Raises Mistake if a test call with two samples of noise fails or is not reproducible.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        modality: Modality | None = None,
        reserved_names: Collection[str] = (),
    ) -> None:
        """`reserved_names`: names of other extractors, which this one must not have."""
        super().__init__()
        plain = re.sub(r"[^a-z0-9]+", "-", type(network).__name__.lower()).strip("-") or "module"
        self.name = f"{plain}-own" if plain in reserved_names else plain
        self.network = network.requires_grad_(False).eval()
        expected = getattr(network, "shape", None)
        self.shape = tuple(expected) if isinstance(expected, list | tuple) else shape
        self.modality = modality or default_modality(self.shape)
        self.sha256 = sha256_with_modality(network_sha256(network), self.modality)
        output = self._try_noise(self.shape)
        self.dim = output.features.shape[1]
        self.classes = None if output.logits is None else output.logits.shape[1]

    def forward(self, x: Tensor) -> Features:
        self.network.eval()  # other code may set it to training mode
        output = self.network(self.modality.to_float(x))
        if hasattr(output, "features"):
            output = output.features, getattr(output, "logits", None)
        features, logits, *extra = (*output, None) if isinstance(output, tuple) else (output, None)
        if extra not in ([], [None]) or not _is_matrix(features, x) or not (logits is None or _is_matrix(logits, x)):
            raise Mistake(
                f"the extractor {self.name} must return features [N, d], or a pair of these and logits [N, K], but "
                f"does not for {len(x)} samples of shape {format_shape(x.shape[1:])}."
            )
        return Features(*(None if tensor is None else tensor.to(torch.float32) for tensor in (features, logits)))  # pyright: ignore[reportArgumentType]

    def _try_noise(self, shape: tuple[int, ...]) -> Features:
        """Return the output for two samples of noise, after checks of its values and reproducibility."""
        generator = torch.Generator().manual_seed(0)
        x = self.modality.to_stored(torch.randn(2, *shape, generator=generator))
        x = x.to(next(chain(self.network.parameters(), self.network.buffers()), x).device)
        with preserve_random_state(), torch.no_grad():
            try:
                output, again, alone = self(x), self(x), self(x[:1])
            except Mistake:
                raise
            except Exception as error:  # user code may raise anything
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                scale = ", bytes as floats in [-1, 1]" if self.modality.planar else ""
                samples = f"samples of shape {format_shape(shape)}{scale}"
                raise Mistake(f"the extractor {self.name} does not take {samples}: {reason}") from error
        for tensor in output[:2]:
            if tensor is not None and not bool(tensor.isfinite().all()):
                raise Mistake(f"the extractor {self.name} returns values that are not finite for samples of noise.")
        if not torch.equal(output.features, again.features):
            raise Mistake(f"the extractor {self.name} returns different features each time: its forward is random.")
        if not torch.allclose(
            output.features[:1], alone.features, rtol=1e-3, atol=1e-3 * float(alone.features.abs().mean())
        ):
            raise Mistake(
                f"the extractor {self.name} returns features of a sample that depend on the rest of its batch."
            )
        return output


def _is_matrix(value: Any, x: Tensor) -> bool:
    """Whether `value` is a float tensor [N, d] for x of N samples."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 2 and len(value) == len(x)


def network_sha256(network: nn.Module) -> str:
    """sha256 of a network: the class, source and plain attributes of each module, and every tensor.

    With tensors only, edited code or another stride would read outdated features of reals from the cache.
    """
    sha256 = hashlib.sha256()
    for path, module in network.named_modules():
        kind = type(module)
        settings = {key: value for key, value in vars(module).items() if key != "training" and _is_plain(value)}
        sha256.update(f"{path} {kind.__module__}.{kind.__qualname__} {sorted(settings.items())}".encode())
        if not kind.__module__.startswith("torch."):
            sha256.update(_source_code(kind).encode())
    tensors = {**dict(network.named_buffers()), **network.state_dict()}  # buffers: including non-persistent ones
    for path, value in sorted(tensors.items()):
        if not isinstance(value, Tensor):
            sha256.update(f"{path} {value!r}".encode())
            continue
        flat = value.detach().cpu().contiguous().reshape(-1)
        sha256.update(f"{path} {value.dtype} {list(value.shape)}".encode() + flat.view(torch.uint8).numpy().tobytes())
    return sha256.hexdigest()


def sha256_with_modality(sha256: str, modality: Modality) -> str:
    """Return `sha256` extended by the code and settings of `modality` if it is user-defined or not exact."""
    user_classes = [kind for kind in type(modality).__mro__[:-1] if not kind.__module__.startswith("saddlepoint.")]
    if not user_classes:
        about = f"{sha256} {sorted(modality.describe().items())}"
        return sha256 if modality.exact else hashlib.sha256(about.encode()).hexdigest()
    settings = {key: value for key, value in vars(modality).items() if _is_plain(value)}
    code = [f"{kind.__module__}.{kind.__qualname__} {_source_code(kind)}" for kind in user_classes]
    return hashlib.sha256(f"{sha256} {sorted(settings.items())} {code}".encode()).hexdigest()


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str) or (isinstance(value, tuple | list) and all(map(_is_plain, value)))


def _source_code(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # defined in a console
        return ""
