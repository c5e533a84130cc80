"""A generator apart from any game: latents and conditions in, by name; samples in [-1, 1] out.

Who made the network does not matter: one of ours, a TorchScript, an ONNX session. What it makes is held against what
its description says, and brought to [-1, 1].
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
from saddlepoint.game.lineage import class_condition, condition_entries, latent_parts
from saddlepoint.game.sampling import draw_condition, draw_from_priors, ordered_condition
from saddlepoint.game.side import LATENT
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Condition

SLACK = 1e-3  # of the range's width: what rounding may add at its ends
Rows = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class ExportedGenerator:
    """x = network(latent, condition), brought to floats in [-1, 1]; points as they are."""

    network: Callable[[Mapping[str, Tensor], Condition], Any]
    wiring: Wiring
    description: Description

    @property
    def conditions(self) -> dict[str, int | None]:
        """What it is asked for, by name: how many classes there are, None for what is no class; {} for nothing."""
        return {name: self.description.classes.get(name) for name in condition_entries(self.wiring)}

    def latent(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """n latents, [n, dim] per part; the same for the same seed.  {} where it starts from no latent."""
        return self._latent(n, Stream(seed, "latent"))

    def draws(self, n: int, seed: int = 0) -> dict[str, Tensor]:
        """n rows of each condition that is a part of a named draw, such as a mask; the same for the same seed."""
        return draw_from_priors(self.wiring, n, Stream(seed, "draws").child)

    @torch.no_grad()
    def __call__(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """[N, *shape], float32, of latent parts [N, dim] and conditions by name, N rows each.

        Raises Mistake for inputs that are missing, unknown or of another shape, and where the network makes something
        else than was described.
        """
        seen, asked = self._viewed(latent), self._asked(condition)
        inputs = {**seen, **asked}
        if len({len(part) for part in inputs.values()}) > 1:
            sizes = ", ".join(f"{name} {len(part)}" for name, part in inputs.items())
            raise Mistake(f"every input has a row for each sample, and these have {sizes}")
        try:
            x = self.network(seen, asked)
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError) as error:
            given = ", ".join(f"{name} {list(part.shape)}" for name, part in inputs.items())
            said = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise Mistake(f"the generator does not take these inputs ({given}; call: {self.description.call}): "
                          f"{said.strip()[:200]}") from None  # fmt: skip
        return self._brought(x)

    def sampler(self, seed: int, name: str = "evaluation", data: Any = None) -> Callable[[int], Rows]:
        """What gives the next n samples of a stream, and their classes (column y): a game's own draws.

        The latents are those that a run of this seed is evaluated on; conditions come from where the description says,
        rows of a split from `data`.
        """
        stream = Stream(seed, name)
        own = self.wiring.conditions
        wiring = replace(self.wiring, conditions=ConditionSource(own.source, own.classes, own.key))
        wiring.conditions.data = data
        label = class_condition(wiring)

        def sample(n: int) -> Rows:
            condition = draw_condition(wiring, n, stream)
            return self(self._latent(n, stream), condition), None if label is None else condition[label]

        return sample

    def _latent(self, n: int, stream: Stream) -> dict[str, Tensor]:
        if not (names := latent_parts(self.wiring)):
            return {}
        parts = self.wiring.priors[LATENT].sample(n, stream)
        return {name: parts[name] for name in names}

    def _viewed(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parts in their order and the shape that the network wants.  Raises Mistake for other parts."""
        names = latent_parts(self.wiring)
        there = f"its latent has the parts {', '.join(names)}" if names else "it starts from no latent: give it {}"
        for name in latent:
            if name not in names:
                raise Mistake(f"latent {name}: {there}.{did_you_mean(name, names)}")
        if missing := [name for name in names if name not in latent]:
            raise Mistake(f"{there}, and {', '.join(missing)} is not given")
        views = self.description.views
        return {name: latent[name].view(-1, *views.get(name, latent[name].shape[1:])) for name in names}

    def _asked(self, condition: Condition) -> Condition:
        """The conditions in their order.  Raises Mistake for others, or where a row is of another shape or type."""
        if not isinstance(condition, Mapping):
            names = ", ".join(f"{name}: ..." for name in self.conditions) or "..."
            raise Mistake(f"a condition is a mapping of names to tensors, {{{names}}}, and this is a "
                          f"{type(condition).__name__}")  # fmt: skip
        asked = ordered_condition(self.wiring, condition)
        for name, rows in asked.items():
            shape, dtype = (), "int64"
            if name not in self.description.classes:
                if (wanted := self.description.inputs.get(name)) is None:
                    continue
                shape, dtype = wanted.shape, wanted.dtype
            found = str(rows.dtype).removeprefix("torch.")
            if tuple(rows.shape[1:]) != shape or not rows.ndim or found != dtype:
                sides = "".join(f", {side}" for side in shape)
                raise Mistake(f"condition {name} is {dtype} [N{sides}], and this is {found} {list(rows.shape)}")
            classes = self.description.classes.get(name)
            if classes is not None and len(strange := rows[(rows < 0) | (rows >= classes)]):
                raise Mistake(f"condition {name} is a class, 0 to {classes - 1}, and {int(strange[0])} stands there")
        return asked

    def _brought(self, x: Any) -> Tensor:
        """x in [-1, 1].  Raises Mistake for what is no tensor of the shape and range that were described."""
        shape, bounds = self.description.shape, self.description.bounds
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != shape:
            made = list(x.shape[1:]) if isinstance(x, Tensor) else type(x).__name__
            raise Mistake(f"the generator makes {made}, and its description says data.shape {list(shape)}")
        x = x.detach().to(torch.float32)
        if bounds is None or not x.isfinite().all():
            return x  # what is not finite is refused where it is measured
        low, high = bounds
        slack, least, most = SLACK * (high - low), float(x.min()), float(x.max())
        if least < low - slack or most > high + slack:
            raise Mistake(f"the generator makes values from {least:.3g} to {most:.3g}, and its description says range "
                          f"{'uint8' if high == 255 else f'[{low:g}, {high:g}]'}")  # fmt: skip
        return x if bounds == (-1.0, 1.0) else (x - low) * (2 / (high - low)) - 1


def wrap_positional(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of (latent, condition) from one of their tensors, in their order."""
    return lambda latent, condition=UNCONDITIONAL: function(*latent.values(), *condition.values())
