"""Concatenation of x with named entries of the condition, [x, c_1, c_2, ...].

Labels with the latent of G and the input of D: Mirza & Osindero 2014 (arXiv:1411.1784), section 3.2. Labels as constant
maps with an image: code of Radford et al. 2015 (arXiv:1511.06434). Images with an image: Isola et al. 2016
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
LAYER = "concatenation (architecture.<player>.condition)"


class Concatenation(nn.Module):
    """x [N, F, ...] -> [N, F + width, ...]: concatenate the entries of `condition` to x along `dim`, in their order.

    condition  width of each entry, by its name; {}: x is returned unchanged
    dim        1 for the features or channels of x; -1 for sequences [N, T, V]
    Integers [N] become one-hot vectors. Other entries are used as numbers: flattened for x [N, F]; for x with more
    dimensions unchanged if their other sizes equal those of x (an image with an image), else flattened and repeated as
    constant maps. The attribute `width` is the total width of the entries.
    Raises ValueError for a width below 1.
    """

    conditional = True

    def __init__(self, condition: Mapping[str, int] = NO_CONDITION, dim: int = 1) -> None:
        super().__init__()
        for name, width in condition.items():
            if type(width) is not int or width < 1:
                raise ValueError(f"concatenation: condition {name}: width={width} must be an integer of at least 1")
        self.condition, self.dim = dict(condition), dim
        self.width = sum(condition.values())

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return x with its condition.  Raises Mistake if an entry is missing or has another width."""
        if not self.condition:
            return x
        return torch.cat(
            [x, *(self._prepare_entry(x, condition, name, width) for name, width in self.condition.items())], self.dim
        )

    def _prepare_entry(self, x: Tensor, condition: Condition, name: str, width: int) -> Tensor:
        """Return an entry of the condition in a shape that can be concatenated to x."""
        entry = condition_entry(condition, name, LAYER)
        if entry.ndim == 1 and not entry.is_floating_point() and entry.dtype != torch.bool:
            label = class_labels(condition, name, width, LAYER)
            return self._constant_maps((label[:, None] == torch.arange(width, device=x.device)).to(x.dtype), x)
        entry = entry.to(x.dtype)
        dim = self.dim % x.ndim
        if x.ndim > 2 and entry.ndim == x.ndim and _shape_without(entry.shape, dim) == _shape_without(x.shape, dim):
            _check_width(name, entry.shape[dim], width, entry)
            return entry
        flat = entry.flatten(1) if entry.ndim > 1 else entry[:, None]
        _check_width(name, flat.shape[1], width, entry)
        return self._constant_maps(flat, x)

    def _constant_maps(self, vector: Tensor, x: Tensor) -> Tensor:
        """Expand vector [N, width] along `dim` and repeat it over all other dimensions of x."""
        dim = self.dim % x.ndim
        shape = list(x.shape)
        shape[dim] = vector.shape[1]
        return vector.view(-1, *(vector.shape[1] if i == dim else 1 for i in range(1, x.ndim))).expand(shape)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {width}" for name, width in self.condition.items())


def _shape_without(shape: torch.Size, dim: int) -> list[int]:
    return [size for i, size in enumerate(shape) if i != dim]


def _check_width(name: str, width: int, expected: int, entry: Tensor) -> None:
    """Raise Mistake if an entry does not have the expected width."""
    if width != expected:
        raise Mistake(
            f"{LAYER}: the condition {name} has width {width} (shape {list(entry.shape)}), but the config has "
            f"{name}: {expected}"
        )
