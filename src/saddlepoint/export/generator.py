"""A loaded generator as a function, without a game: latents and conditions in, by name; samples in [-1, 1] out.

The network may be ours, a TorchScript module or an ONNX session. Its output is checked against its description and
scaled to [-1, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.export.description import Description
from saddlepoint.export.sampling_module import Wiring
from saddlepoint.game.condition_source import ConditionSource
from saddlepoint.game.lineage import class_condition_name, condition_entries, latent_part_names
from saddlepoint.game.sampling import draw_condition, draw_random_conditions, ordered_condition
from saddlepoint.game.side import LATENT
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Condition

SLACK = 1e-3  # of the range's width: the rounding error allowed at its ends
Rows = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class ExportedGenerator:
    """x = network(latent, condition), scaled to floats in [-1, 1]; unbounded samples are returned unchanged."""

    network: Callable[[Mapping[str, Tensor], Condition], Any]
    wiring: Wiring
    description: Description

    @property
    def conditions(self) -> dict[str, int | None]:
        """The names of its conditions, each with its number of classes, or None if it is not a class."""
        return {name: self.description.classes.get(name) for name in condition_entries(self.wiring)}

    def latent(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """Return n latents, [n, dim] per part; the same for the same seed.  {} if the generator has no latent."""
        return self._sample_latent(n, Stream(seed, "latent"))

    def draws(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """Return n rows of each condition that is drawn at random, such as a mask; the same for the same seed."""
        return draw_random_conditions(self.wiring, n, Stream(seed, "draws").child)

    @torch.no_grad()
    def __call__(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return samples [N, *shape], float32, for latent parts [N, dim] and conditions of N rows, both by name.

        Raises Mistake if an input is missing, unknown or of another shape, or if the output contradicts the
        description.
        """
        parts, conditions = self._ordered_latent(latent), self._checked_condition(condition)
        inputs = {**parts, **conditions}
        if len({len(rows) for rows in inputs.values()}) > 1:
            sizes = ", ".join(f"{name} {len(rows)}" for name, rows in inputs.items())
            raise Mistake(f"every input needs one row per sample; the numbers of rows differ: {sizes}")
        try:
            x = self.network(parts, conditions)
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError) as error:
            shapes = ", ".join(f"{name} {list(rows.shape)}" for name, rows in inputs.items())
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise Mistake(f"the generator does not take these inputs ({shapes}; call: {self.description.call}): "
                          f"{reason.strip()[:200]}") from None  # fmt: skip
        return self._scale_input(x)

    def sampler(self, seed: int, name: str = "evaluation", data: Any = None) -> Callable[[int], Rows]:
        """Return a function that makes the next n samples of a stream, and their classes (column y).

        The latents are the same as those for the evaluation of a run with this seed. The description defines the
        source of the conditions; the rows of a split are those of `data`.
        """
        stream = Stream(seed, name)
        source = self.wiring.conditions
        wiring = replace(self.wiring, conditions=ConditionSource(source.source, source.classes, source.key))
        wiring.conditions.data = data
        label = class_condition_name(wiring)

        def sample(n: int) -> Rows:
            condition = draw_condition(wiring, n, stream)
            return self(self._sample_latent(n, stream), condition), None if label is None else condition[label]

        return sample

    def _sample_latent(self, n: int, stream: Stream) -> dict[str, Tensor]:
        if not (names := latent_part_names(self.wiring)):
            return {}
        parts = self.wiring.priors[LATENT].sample(n, stream)
        return {name: parts[name] for name in names}

    def _ordered_latent(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts in the network's order and shape.  Raises Mistake for missing or unknown parts."""
        names = latent_part_names(self.wiring)
        expected = f"its latent has the parts {', '.join(names)}" if names else "it has no latent: pass {}"
        for name in latent:
            if name not in names:
                raise Mistake(f"latent {name}: {expected}.{did_you_mean(name, names)}")
        if missing := [name for name in names if name not in latent]:
            raise Mistake(f"{expected}, and {', '.join(missing)} is missing")
        views = self.description.views
        return {name: latent[name].view(-1, *views.get(name, latent[name].shape[1:])) for name in names}

    def _checked_condition(self, condition: Condition) -> Condition:
        """Return the conditions in order.  Raises Mistake for other names, shapes, types or classes."""
        if not isinstance(condition, Mapping):
            names = ", ".join(f"{name}: ..." for name in self.conditions) or "..."
            raise Mistake(f"a condition is a mapping of names to tensors, {{{names}}}, and this is a "
                          f"{type(condition).__name__}")  # fmt: skip
        conditions = ordered_condition(self.wiring, condition)
        for name, rows in conditions.items():
            shape, dtype = (), "int64"
            if name not in self.description.classes:
                if (described := self.description.inputs.get(name)) is None:
                    continue
                shape, dtype = described.shape, described.dtype
            rows_dtype = str(rows.dtype).removeprefix("torch.")
            if tuple(rows.shape[1:]) != shape or not rows.ndim or rows_dtype != dtype:
                sizes = "".join(f", {size}" for size in shape)
                raise Mistake(f"condition {name} is {dtype} [N{sizes}], and this is {rows_dtype} {list(rows.shape)}")
            classes = self.description.classes.get(name)
            if classes is not None and len(invalid := rows[(rows < 0) | (rows >= classes)]):
                raise Mistake(f"condition {name} is a class from 0 to {classes - 1}, and one of these is "
                              f"{int(invalid[0])}")  # fmt: skip
        return conditions

    def _scale_input(self, x: Any) -> Tensor:
        """Return x scaled to [-1, 1].  Raises Mistake if its shape or range contradicts the description."""
        shape, bounds = self.description.shape, self.description.bounds
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != shape:
            output = list(x.shape[1:]) if isinstance(x, Tensor) else type(x).__name__
            raise Mistake(f"the generator makes {output}, and its description has data.shape {list(shape)}")
        x = x.detach().to(torch.float32)
        if bounds is None or not x.isfinite().all():
            return x  # the evaluation raises an error for values that are not finite
        low, high = bounds
        slack, smallest, largest = SLACK * (high - low), float(x.min()), float(x.max())
        if smallest < low - slack or largest > high + slack:
            raise Mistake(f"the generator makes values from {smallest:.3g} to {largest:.3g}, and its description has "
                          f"range {'uint8' if high == 255 else f'[{low:g}, {high:g}]'}")  # fmt: skip
        return x if bounds == (-1.0, 1.0) else (x - low) * (2 / (high - low)) - 1


def wrap_positional(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of (latent, condition) that passes their tensors to `function` as positional arguments."""
    return lambda latent, condition=UNCONDITIONAL: function(*latent.values(), *condition.values())
