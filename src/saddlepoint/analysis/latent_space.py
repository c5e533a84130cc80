"""The continuous coordinates that samples of a game are computed from, and samples and Jacobians at moved coordinates.

Without a mapping network these are the parts of the latent that are not categorical, z; with one, its output w, in
which StyleGAN's directions are sought (Haerkoenen et al. 2020, arXiv:2004.02546, section 2.1). A categorical part, and
the condition, keep their values.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import latent_part_names
from saddlepoint.game.sampling import (
    build_sampling_turn,
    is_batch_dependent,
    ordered_condition,
    prepare_sampling_networks,
)
from saddlepoint.game.side import LATENT
from saddlepoint.layer.mapping_network import MappingNetwork
from saddlepoint.mode import in_mode
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.prior import LatentPart
from saddlepoint.turn import Condition

BATCH = 500  # samples that are computed at once
JACOBIAN_ENTRIES = 2**23  # numbers in the Jacobians of one batch


class LatentSpace:
    """The coordinates of a game, [N, dim] for N latents; `parts` is {} if they are those of a mapping network.

    Raises Mistake if samples of the game are not made from latents, or only from categorical ones.
    """

    def __init__(self, game: Game, average: bool = True) -> None:
        self.game, self.networks = game, prepare_sampling_networks(game, average)[0]
        modules = [module for network in self.networks.values() for module in network.modules()]
        mappings = [module for module in modules if isinstance(module, MappingNetwork)]
        self.mapping = mappings[0] if len(mappings) == 1 else None
        if not (names := latent_part_names(game)):
            raise Mistake("samples of this run are not made from latents, so there are no directions")
        sizes: dict[str, int] = {
            name: cast(LatentPart, game.prior[name]).dim
            for name in names
            if not isinstance(game.prior[name], Categorical)
        }
        self.parts = {} if self.mapping is not None else sizes
        self.dim = sum(sizes.values()) if self.mapping is None else self.mapping.mean.numel()
        if not self.dim:
            raise Mistake(f"the latent of this run ({', '.join(names)}) is categorical: kind=codes shows its values")

    def unit_vector(self, part: str, entry: int) -> Tensor:
        """Return the direction of one entry of a part, [dim]."""
        before = sum(
            size for name, size in self.parts.items() if list(self.parts).index(name) < list(self.parts).index(part)
        )
        return nn.functional.one_hot(torch.tensor(before + entry), self.dim).to(torch.float32)

    def _moved_latent(self, latent: Mapping[str, Tensor], offset: Tensor | None) -> dict[str, Tensor]:
        moved = dict(latent)
        if offset is not None and self.parts:
            steps: Any = offset.split(list(self.parts.values()), 1)
            moved |= {name: latent[name] + step for name, step in zip(self.parts, steps, strict=True)}
        return moved

    def _forward(
        self, latent: Mapping[str, Tensor], condition: Condition, offset: Tensor | None, slope: bool = False
    ) -> Tensor:
        handle = None
        if self.mapping is not None and offset is not None:
            handle = self.mapping.register_forward_hook(lambda *call: call[2] + offset)
        try:
            moved = self._moved_latent(latent, offset)
            turn = build_sampling_turn(self.game, moved, ordered_condition(self.game, condition), self.networks)
            turn = turn.replace(slope_at=frozenset({LATENT})) if slope else turn  # else it records no derivatives
            return turn.side_sample(self.game.samples).x
        finally:
            if handle is not None:
                handle.remove()

    @torch.no_grad()
    def samples(
        self, latent: Mapping[str, Tensor], condition: Condition, offset: Tensor | None = None, batch: int = BATCH
    ) -> Tensor:
        """Return the samples, [N, *shape] floats on the CPU, at the coordinates of N latents plus `offset` [N, dim]."""
        with in_mode(*self.networks.values()):
            x = [
                self._forward(z, entries, None if offset is None else offset[rows].to(self.game.device)).cpu()
                for rows, z, entries in self._batches(latent, condition, batch)
            ]
        return torch.cat(x)

    def coordinates(self, latent: Mapping[str, Tensor], condition: Condition, batch: int = BATCH) -> Tensor:
        """Return the coordinates of N latents, [N, dim], float64 on the CPU."""
        if self.mapping is None:
            return torch.cat([latent[name] for name in self.parts], 1).to("cpu", torch.float64)
        return next(iter(self._outputs({"w": self.mapping}, latent, condition, batch).values())).to(torch.float64)

    def features(
        self, latent: Mapping[str, Tensor], condition: Condition, layer: str | None = None, batch: int = BATCH
    ) -> tuple[str, Tensor]:
        """Return the name of a layer and its output for N latents, flattened, [N, F] float64.

        layer  None: w of a mapping network, else the first layer with weights whose output depends on the latent
        Raises Mistake for an unknown layer, or one whose output does not depend on the latent.
        """
        if layer is None and self.mapping is not None:
            return "w", self.coordinates(latent, condition, batch)
        layers = {
            f"{player}.{name}" if len(self.networks) > 1 else name: module
            for player, network in self.networks.items()
            for name, module in network.named_modules()
            if name and "parametrizations" not in name
        }
        if layer is not None and layer not in layers:
            raise Mistake(f"layer={layer}: the generator has no such layer.{did_you_mean(layer, list(layers))}")
        weighted = {
            name: module for name, module in layers.items() if next(module.parameters(recurse=False), None) is not None
        }
        # a few rows, to find the first layer, with the same condition for all
        few = {
            name: z[:1].expand_as(z[:3]) if name not in latent_part_names(self.game) else z[:3]
            for name, z in latent.items()
        }
        same = {name: entry[:1].expand_as(entry[:3]) for name, entry in condition.items()}
        outputs = self._outputs({layer: layers[layer]} if layer else weighted, few, same, 3)
        name = next((name for name, y in outputs.items() if len(y) == 3 and not torch.equal(y[0], y[1])), None)
        if name is None:
            raise Mistake(
                f"layer={layer}: its output does not depend on the latent. Name another layer of the generator"
            )
        y = self._outputs({name: layers[name]}, latent, condition, batch)[name]
        return name, y.to(torch.float64)

    @torch.no_grad()
    def _outputs(
        self, modules: Mapping[str, nn.Module], latent: Mapping[str, Tensor], condition: Condition, batch: int
    ) -> dict[str, Tensor]:
        """Return the flattened outputs of modules, in the order of their first use; only those that are tensors."""
        collected: dict[str, list[Tensor]] = {}

        def hook(name: str) -> Any:
            def record(module: nn.Module, inputs: Any, output: Any) -> None:
                if isinstance(output, Tensor) and output.ndim > 1:
                    collected.setdefault(name, []).append(output.detach().flatten(1).cpu())

            return record

        handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
        try:
            with in_mode(*self.networks.values()):
                for _, z, entries in self._batches(latent, condition, batch):
                    self._forward(z, entries, None)
        finally:
            for handle in handles:
                handle.remove()
        return {name: torch.cat(parts) for name, parts in collected.items()}

    def squared_jacobian(self, latent: Mapping[str, Tensor], condition: Condition, batch: int | None = None) -> Tensor:
        """Return E[J^T J], [dim, dim] float64, over N latents; J = dG/dz (or dG/dw) by forward-mode derivatives.

        batch  latents at once; None: as many as fit. Raises Mistake if a sample depends on the others of its batch.
        """
        if any(map(is_batch_dependent, self.networks.values())):
            raise Mistake(
                "kind=jacobian: a sample of this generator depends on the others of its batch; use kind=features"
            )
        n, total = len(next(iter(latent.values()))), torch.zeros(self.dim, self.dim, dtype=torch.float64)
        size = self.samples(take_rows(latent, slice(1)), take_rows(condition, slice(1))).numel()
        batch = batch or max(1, min(BATCH, JACOBIAN_ENTRIES // (size * self.dim)))
        with self._derivatives():
            for rows, z, entries in self._batches(latent, condition, batch):
                zero = torch.zeros(rows.stop - rows.start, self.dim, device=self.game.device)
                columns = []
                for unit in torch.eye(self.dim, device=self.game.device):

                    def g(offset: Tensor, z: Any = z, entries: Any = entries) -> Tensor:
                        return self._forward(z, entries, offset, slope=True).flatten(1)

                    columns.append(torch.func.jvp(g, (zero,), (unit.expand_as(zero),))[1])
                jacobian = torch.stack(columns, 2).to("cpu", torch.float64)  # [batch, D, dim]
                total += torch.einsum("bik,bil->kl", jacobian, jacobian)
        return total / n

    @contextmanager
    def _derivatives(self) -> Iterator[None]:
        """Evaluation mode, in which only the offset has a derivative."""
        parameters = [p for network in self.networks.values() for p in network.parameters()]
        required = [p.requires_grad for p in parameters]
        try:
            for p in parameters:
                p.requires_grad_(False)
            with in_mode(*self.networks.values()), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of torch's own formulas for forward derivatives
                yield
        finally:
            for p, flag in zip(parameters, required, strict=True):
                p.requires_grad_(flag)

    def _batches(
        self, latent: Mapping[str, Tensor], condition: Condition, batch: int
    ) -> Iterator[tuple[slice, dict[str, Tensor], dict[str, Tensor]]]:
        """Yield the rows of each batch, and its latents and conditions on the device of the game."""
        n = len(next(iter(latent.values())))
        for i in range(0, n, batch):
            rows = slice(i, min(n, i + batch))
            yield rows, take_rows(latent, rows, self.game.device), take_rows(condition, rows, self.game.device)


def take_rows(columns: Mapping[str, Tensor], rows: slice, device: torch.device | None = None) -> dict[str, Tensor]:
    """Return rows of each column, moved to a device unless it is None."""
    return {name: x[rows] if device is None else x[rows].to(device) for name, x in columns.items()}
