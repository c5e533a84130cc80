"""Where the generator starts: named, independent parts of the latent."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from saddlepoint.stream import Stream


class Part(nn.Module):
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

    def __init__(self, **parts: Part) -> None:
        super().__init__(parts)

    @property
    def size(self) -> int:
        """Numbers per latent, all parts together."""
        return sum(cast(Part, part).dim for part in self.values())

    def sample(self, n: int, stream: Stream) -> dict[str, Tensor]:
        """n latents, [n, dim] per part.

        The first part is drawn from `stream`, each further one from its child `latent/<part>`: so n latents and then m
        are the n + m drawn at once, but from a joint stream, for draws of a fixed size.
        """
        streams = {name: stream.child(f"latent/{name}") if i else stream for i, name in enumerate(self)}
        return {name: cast(Part, part).sample(n, streams[name]) for name, part in self.items()}
