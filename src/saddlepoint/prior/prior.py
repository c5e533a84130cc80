"""The prior: the distribution of the latent, as named, independent parts."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from saddlepoint.stream import Stream


class LatentPart(nn.Module):
    """One part of the latent: `dim` numbers per sample."""

    discrete = False  # whether its values are isolated, so that there is no slope along it
    span: tuple[float, float] | None = None  # first and last value of an entry in a traversal, if values are ordered

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"{type(self).__name__}: dim={dim} must be at least 1")
        self.dim = dim

    def sample(self, n: int, stream: Stream) -> Tensor:
        """Draw n samples, [n, dim]."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(n, stream)")

    def nll(self, code: Tensor, prediction: Tensor) -> Tensor:
        """Mean of -log Q(code | prediction) over samples, up to a constant; both arguments are [N, dim]."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define nll(code, prediction), so it cannot be predicted"
        )


class Prior(nn.ModuleDict):
    """The parts of the latent by name; the generator takes the samples as a mapping, in this order."""

    def __init__(self, **parts: LatentPart) -> None:
        super().__init__(parts)

    @property
    def total_dim(self) -> int:
        """Numbers per latent, summed over the parts."""
        return sum(cast(LatentPart, part).dim for part in self.values())

    def sample(self, n: int, stream: Stream) -> dict[str, Tensor]:
        """Draw n latents, [n, dim] per part.

        The first part is drawn from `stream`, each other part from its child `latent/<part>`.  Drawing n and then m
        latents therefore equals drawing n + m at once, except from a joint stream, whose draws have a fixed size.
        """
        latent: dict[str, Tensor] = {}
        for name, part in self.items():
            latent[name] = cast(LatentPart, part).sample(n, stream.child(f"latent/{name}") if latent else stream)
        return latent


def interpolate(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], steps: int = 8, kind: str = "spherical"
) -> dict[str, Tensor]:
    """Interpolate from `one` to `other`, both included: [N, dim] per part -> [N * steps, dim], path by path.

    spherical    along the great circle, for normal priors, whose mass is concentrated near a sphere: the midpoint of a
                 straight line is shorter than any latent that G was trained on.
                 White 2016 (arXiv:1609.04468), section 2.1
    linear       along the straight line, for uniform priors; the line stays inside the cube
    Both kinds mix the codes of a categorical part; use the same code at both ends to avoid that.
    Raises ValueError for another kind, fewer than two steps, or ends with different parts.
    """
    if kind not in ("spherical", "linear"):
        raise ValueError(f"kind={kind} must be spherical or linear")
    if steps < 2:
        raise ValueError(f"steps={steps} must be at least 2, since both ends are included")
    if {name: part.shape for name, part in one.items()} != {name: part.shape for name, part in other.items()}:
        raise ValueError("both ends must have the same parts, of the same shapes")
    between = _spherical_interpolation if kind == "spherical" else torch.lerp
    return {
        name: torch.stack([between(part, other[name], t) for t in torch.linspace(0, 1, steps).tolist()], 1).flatten(
            0, 1
        )
        for name, part in one.items()
    }


def _spherical_interpolation(one: Tensor, other: Tensor, t: float) -> Tensor:
    """Return sin((1 - t) w) / sin(w) one + sin(t w) / sin(w) other, w the angle; lerp if w is 0 or pi."""
    cosine = nn.functional.cosine_similarity(one.double(), other.double(), dim=1).clamp(-1, 1)
    angle = cosine.acos().unsqueeze(1)
    sine = angle.sin()
    parallel = sine < 1e-6
    sine = torch.where(parallel, 1.0, sine)
    first = torch.where(parallel, 1 - t, ((1 - t) * angle).sin() / sine)
    second = torch.where(parallel, t, (t * angle).sin() / sine)
    return (first * one + second * other).to(one.dtype)
