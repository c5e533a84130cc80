"""Traversals, in which one part of the latent or one entry of it changes, and interpolations of all parts.

Chen et al. 2016 (arXiv:1606.03657), figure 2: a row per latent, a column per value. A categorical code takes each of
its values; a continuous entry takes evenly spaced ones, which may go beyond its prior: -2 to 2 for codes from U[-1, 1).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import LatentPart, Prior, interpolate


class Traversal(NamedTuple):
    """The columns of a part that change, and the rows that they take, one after the other."""

    part: str
    columns: slice
    rows: Tensor  # [steps, width of the columns]

    def latents(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return [N, dim] per part -> [N * steps, dim]: each latent with each of the rows, latent by latent."""
        steps, n = len(self.rows), len(latent[self.part])
        repeated = {name: z.repeat_interleave(steps, 0) for name, z in latent.items()}
        repeated[self.part][:, self.columns] = self.rows.to(latent[self.part]).repeat(n, 1)
        return repeated


def traversal_of(prior: Prior, key: str, steps: int | None = None, span: Sequence[float] | None = None) -> Traversal:
    """Return the traversal of `key`: a part (category), or an entry of a continuous part, counted from 0 (style.1).

    steps   number of values of a continuous entry; None: 8. A categorical part takes each of its `dim` values instead
    span    first and last value of a continuous entry; None: those of the part, `LatentPart.span`
    Raises Mistake for an unknown part or entry, a continuous part of several entries without an entry, fewer than two
    steps, a span that is not increasing, and a span for a categorical part.
    """
    name, dot, index = key.partition(".")
    if name not in prior:
        raise Mistake(f"traverse={key}: the latent has the parts {', '.join(prior)}.{did_you_mean(name, list(prior))}")
    part = cast(LatentPart, prior[name])
    if isinstance(part, Categorical):
        if dot or span is not None:
            raise Mistake(
                f"traverse={key}: {name} is categorical and takes each of its {part.dim} values: traverse={name}, "
                "without a span"
            )
        return Traversal(name, slice(None), torch.eye(part.dim))
    entries = f"0 to {part.dim - 1}" if part.dim > 1 else "0"
    if (not dot and part.dim > 1) or (dot and not (index.isdecimal() and int(index) < part.dim)):
        raise Mistake(f"traverse={key}: name one entry of {name}, {entries}: traverse={name}.0")
    first, last = span or part.span or (None, None)
    if first is None or last is None:
        raise Mistake(f"traverse={key}: {type(part).__name__} has no span: give the first and last value, span=[-1,1]")
    steps = 8 if steps is None else steps
    if not first < last or steps < 2:
        raise Mistake(
            f"traverse={key}: needs at least 2 steps and an increasing span, not {steps} from {first} to {last}"
        )
    entry = int(index or 0)
    return Traversal(name, slice(entry, entry + 1), torch.linspace(first, last, steps)[:, None])


def interpolate_by_prior(
    prior: Prior, one: Mapping[str, Tensor], other: Mapping[str, Tensor], steps: int = 8, kind: str | None = None
) -> dict[str, Tensor]:
    """Return `interpolate(one, other, steps, kind)` of each part; None: spherical for normal parts, linear for others.

    A categorical part keeps the code of `one`, because G was trained on no mixture of codes.
    """
    path: dict[str, Tensor] = {}
    for name, part in prior.items():
        end = one if isinstance(part, Categorical) else other
        part_kind = kind or ("spherical" if isinstance(part, Normal) else "linear")
        path |= interpolate({name: one[name]}, {name: end[name]}, steps, part_kind)
    return path
