"""Where the generator starts: named, independent parts of the latent."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from saddlepoint.stream import Stream


class LatentPart(nn.Module):
    """One named part: `dim` numbers per sample."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"{type(self).__name__}: dim={dim} must be at least 1")
        self.dim = dim

    def sample(self, n: int, stream: Stream) -> Tensor:
        """n draws, [n, dim]."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(n, stream)")

    def nll(self, code: Tensor, prediction: Tensor) -> Tensor:
        """Mean of -log Q(code | prediction) over samples, up to a constant; both [N, dim]."""
        raise NotImplementedError(f"{type(self).__name__} cannot be predicted")


class Prior(nn.ModuleDict):
    """The parts by name; the generator gets them as a mapping in this order."""

    def __init__(self, **parts: LatentPart) -> None:
        super().__init__(parts)

    @property
    def total_dim(self) -> int:
        """Numbers per latent, all parts together."""
        return sum(cast(LatentPart, part).dim for part in self.values())

    def sample(self, n: int, stream: Stream) -> dict[str, Tensor]:
        """n latents, [n, dim] per part.

        The first part is drawn from `stream`, each further one from its child `latent/<part>`: so n latents and then m
        are the n + m drawn at once, but from a joint stream, for draws of a fixed size.
        """
        found: dict[str, Tensor] = {}
        for name, part in self.items():
            found[name] = cast(LatentPart, part).sample(n, stream.child(f"latent/{name}") if found else stream)
        return found


def interpolate(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], steps: int = 8, kind: str = "spherical"
) -> dict[str, Tensor]:
    """Latents on the way from `one` to `other`, both included: [N, dim] per part -> [N * steps, dim], path by path.

    spherical    along the great circle, the length going with the angle; for normal priors, almost all of whose mass is
                 near a sphere: the middle of a straight line is shorter than any latent that G was trained on.
                 White 2016 (arXiv:1609.04468), section 2.1
    linear       along the straight line; for uniform priors, whose cube it does not leave
    A categorical part is mixed by either; to keep to its codes, give both ends the same one.
    Raises ValueError for another kind, fewer than two steps, or ends that do not have the same parts.
    """
    if kind not in ("spherical", "linear"):
        raise ValueError(f"kind={kind} must be spherical or linear")
    if steps < 2:
        raise ValueError(f"steps={steps} must be at least 2: both ends are among them")
    if {name: part.shape for name, part in one.items()} != {name: part.shape for name, part in other.items()}:
        raise ValueError("both ends must have the same parts, of the same shapes")
    between = _spherical if kind == "spherical" else torch.lerp
    return {
        name: torch.stack([between(part, other[name], t) for t in torch.linspace(0, 1, steps).tolist()], 1).flatten(
            0, 1
        )
        for name, part in one.items()
    }


def _spherical(one: Tensor, other: Tensor, t: float) -> Tensor:
    """sin((1 - t) w) / sin(w) one + sin(t w) / sin(w) other, w the angle between them; the line where w is 0 or pi."""
    cosine = nn.functional.cosine_similarity(one.double(), other.double(), dim=1).clamp(-1, 1)
    angle = cosine.acos().unsqueeze(1)
    sine = angle.sin()
    parallel = sine < 1e-6
    sine = torch.where(parallel, 1.0, sine)
    first = torch.where(parallel, 1 - t, ((1 - t) * angle).sin() / sine)
    second = torch.where(parallel, t, (t * angle).sin() / sine)
    return (first * one + second * other).to(one.dtype)
