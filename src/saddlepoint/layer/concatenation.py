"""Concatenation: named entries of the condition joined to x, [x, c_1, c_2, ...].

Mirza & Osindero 2014 (arXiv:1411.1784), section 3.2: labels beside the latent of G and beside the input of D. Labels as
constant maps beside an image: Radford et al. 2015 (arXiv:1511.06434), code; images beside an image: Isola et al. 2016
(arXiv:1611.07004), section 3.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import class_labels, condition_entry
from saddlepoint.turn import Condition

NO_CONDITION: Mapping[str, int] = MappingProxyType({})
WHERE = "concatenation (architecture.<player>.condition)"


class Concatenation(nn.Module):
    """x [N, F, ...] -> [N, F + width, ...], the entries of `condition` joined along `dim`, in the order given there.

    condition  the width of each entry that is joined, by its name; {}: x as it is
    dim        1, the features or channels of x; -1 for sequences [N, T, V]
    Integers [N] are one-hot of their width. Any other entry is joined as numbers: flattened beside x [N, F]; beside x
    of more dimensions as it is where its other sizes are those of x (an image beside an image), else flattened and
    repeated as constant maps. `width` is what it adds to x.
    Raises ValueError for a width below 1.
    """

    conditional = True

    def __init__(self, condition: Mapping[str, int] = NO_CONDITION, dim: int = 1) -> None:
        super().__init__()
        for name, width in condition.items():
            if type(width) is not int or width < 1:
                raise ValueError(f"concatenation: condition {name}: width={width} must be a whole number of at least 1")
        self.condition, self.dim = dict(condition), dim
        self.width = sum(condition.values())

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """x and its condition.  Raises Mistake where an entry is not there, or has another width."""
        if not self.condition:
            return x
        return torch.cat(
            [x, *(self._beside(x, condition, name, width) for name, width in self.condition.items())], self.dim
        )

    def _beside(self, x: Tensor, condition: Condition, name: str, width: int) -> Tensor:
        entry = condition_entry(condition, name, WHERE)
        if entry.ndim == 1 and not entry.is_floating_point() and entry.dtype != torch.bool:
            label = class_labels(condition, name, width, WHERE)
            return self._maps((label[:, None] == torch.arange(width, device=x.device)).to(x.dtype), x)
        entry = entry.to(x.dtype)
        dim = self.dim % x.ndim
        if x.ndim > 2 and entry.ndim == x.ndim and _without(entry.shape, dim) == _without(x.shape, dim):
            _check(name, entry.shape[dim], width, entry)
            return entry
        flat = entry.flatten(1) if entry.ndim > 1 else entry[:, None]
        _check(name, flat.shape[1], width, entry)
        return self._maps(flat, x)

    def _maps(self, vector: Tensor, x: Tensor) -> Tensor:
        """vector [N, width], its numbers along `dim`, repeated along all other dimensions of x."""
        dim = self.dim % x.ndim
        shape = list(x.shape)
        shape[dim] = vector.shape[1]
        return vector.view(-1, *(vector.shape[1] if i == dim else 1 for i in range(1, x.ndim))).expand(shape)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {width}" for name, width in self.condition.items())


def _without(shape: torch.Size, dim: int) -> list[int]:
    return [size for i, size in enumerate(shape) if i != dim]


def _check(name: str, width: int, expected: int, entry: Tensor) -> None:
    """Raise Mistake where an entry has another width."""
    if width != expected:
        raise Mistake(
            f"{WHERE}: the condition {name} has width {width} (its shape is {list(entry.shape)}), and the config says "
            f"{name}: {expected}"
        )
