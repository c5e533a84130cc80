"""The fastest hand-written loop of a GAN: what the programs here compare `saddlepoint train` with.

D frozen on G's turn, fused Adam, the same average of G's weights, the data as one tensor on the device, batches as
slices of a permutation, one sum of the losses per backward pass.  `Graphed` replays one round as a CUDA graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from saddlepoint.pixel import to_float

LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    # by objective: of D, of G, from D's logits of reals and fakes; G's is called with None for reals if it needs none
    "nonsaturating": (lambda x, z: softplus(-x).mean() + softplus(z).mean(), lambda x, z: softplus(-z).mean()),
    "hinge": (lambda x, z: (1 - x).relu().mean() + (1 + z).relu().mean(), lambda x, z: -z.mean()),
    "wasserstein": (lambda x, z: z.mean() - x.mean(), lambda x, z: -z.mean()),
    "relativistic": (lambda x, z: softplus(z - x).mean(), lambda x, z: softplus(x - z).mean()),
}


class Bare:
    """A loop of one of LOSSES, perhaps with R1, R2 or a gradient penalty, on the device of the game's networks."""

    def __init__(self, game: Any, data: Any, config: Any) -> None:
        self.g, self.d = copy.deepcopy(game.generator.network), copy.deepcopy(game.discriminator.network)
        self.average = copy.deepcopy(self.g).requires_grad_(False)
        self.d_parameters = list(self.d.parameters())
        self.averaged, self.live = (
            [t for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()] for net in (self.average, self.g)
        )
        self.decay = 0.5 ** (config.batch / 20_000)
        self.latents, self.batch = game.prior.total_dim, config.batch
        self.d_loss, self.g_loss = LOSSES[config.choice.objective]
        self.needs_reals = config.choice.objective == "relativistic"
        self.penalties = list(config.choice.regularizer or ())
        self.device = next(self.g.parameters()).device
        adam: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True,
                                "capturable": self.device.type == "cuda"}  # fmt: skip
        self.opt_g = torch.optim.Adam(self.g.parameters(), **adam)
        self.opt_d = torch.optim.Adam(self.d.parameters(), **adam)
        split = data.split("train")
        self.x = to_float(split[torch.arange(len(split))][0]).to(self.device)
        self.order, self.position = torch.randperm(len(self.x), device=self.device), 0

    def round(self) -> None:
        """Play one round on the next batch."""
        self.play(self.next_indices())

    def next_indices(self) -> Tensor:
        if self.position + self.batch > len(self.x):
            self.order, self.position = torch.randperm(len(self.x), device=self.device), 0
        self.position += self.batch
        return self.order[self.position - self.batch : self.position]

    def draw(self) -> dict[str, Tensor]:
        return {"z": torch.randn(self.batch, self.latents, device=self.device)}

    def play(self, indices: Tensor) -> None:
        """Play one round on the images at `indices`."""
        x = self.x[indices]
        with torch.no_grad():
            fake = self.g(self.draw())
        self.opt_d.zero_grad()
        if "r1" in self.penalties:
            x = x.requires_grad_().view_as(x)  # no leaf, for which torch's counter of operations fails
        if "r2" in self.penalties:
            fake = fake.requires_grad_().view_as(fake)
        real_logits, fake_logits = self.d(x).logits, self.d(fake).logits
        loss = self.d_loss(real_logits, fake_logits)
        for name, logits, at in (("r1", real_logits, x), ("r2", fake_logits, fake)):
            if name in self.penalties:
                (slope,) = torch.autograd.grad(logits.sum(), at, create_graph=True)
                loss = loss + slope.square().flatten(1).sum(1).mean() / 2
        if "gradient_penalty" in self.penalties:
            e = torch.rand(self.batch, *(1,) * (x.ndim - 1), device=self.device)
            between = (e * x + (1 - e) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(self.d(between).logits.sum(), between, create_graph=True)
            loss = loss + 10 * ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()
        loss.backward()
        self.opt_d.step()
        for p in self.d_parameters:
            p.requires_grad_(False)
        self.opt_g.zero_grad()
        real_logits = self.d(x.detach()).logits if self.needs_reals else None
        self.g_loss(real_logits, self.d(self.g(self.draw())).logits).backward()
        self.opt_g.step()
        for p in self.d_parameters:
            p.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.live, 1 - self.decay)


class Graphed:
    """A bare loop whose round is captured once as a CUDA graph: a replay costs one launch, and draws on the device."""

    def __init__(self, bare: Bare) -> None:
        self.bare, self.indices = bare, bare.next_indices().clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # PyTorch's manual: a capture is preceded by passes on another stream
            for _ in range(3):
                bare.play(self.indices)
        torch.cuda.current_stream().wait_stream(side)
        for optimizer in (bare.opt_d, bare.opt_g):
            optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            bare.play(self.indices)

    def round(self) -> None:
        self.indices.copy_(self.bare.next_indices())
        self.graph.replay()
