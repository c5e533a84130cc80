"""The game: on each batch the players whose turn it is move, one after the other.

Goodfellow et al. 2014 (arXiv:1406.2661), algorithm 1, with its inner loop turned into periods: a player moves in each
`every`-th round, so that every step of every player sees fresh data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game.player import SIDES, Player
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream, global_state, seed_of, set_global_state
from saddlepoint.turn import Batch, Sample, Turn, needs_input_gradient

Named = dict[str, Tensor]
BatchNorm = nn.modules.batchnorm._BatchNorm
FORMAT = (
    2  # of what a checkpoint holds beside Lightning's own; 1: the global generators of one process, not of each rank
)
STARTING = 500  # samples that layers which start from data are shown, as in the code of Salimans et al. 2016


class Game(LightningModule):
    """Alternating play. `players` are asked in order and must hold a `generator` and a `discriminator`.

    Progress is counted in `images` (real images shown) and `rounds` (batches), never in optimizer steps.
    """

    def __init__(self, players: Mapping[str, Player], prior: Prior, seed: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        if missing := {"generator", "discriminator"} - set(players):
            raise ValueError(
                f"a game needs players generator and discriminator; {', '.join(sorted(missing))} is missing"
            )
        self.players, self.prior, self.seed = nn.ModuleDict(players), prior, seed
        self.images = self.rounds = 0
        self.streams = {name: Stream(seed, name, joint=True) for name in ("latent", "augment")}
        self.observed: dict[str, tuple[Named, Named]] = {}  # each term as it was when last due; logits of the last turn
        self.reported: dict[str, float] = {}
        self.witness: Callable[[Sequence[str], Batch], None] | None = None  # told of each turn before it begins
        self.average_alone = False  # whether of G only its average is known, as a snapshot holds it
        self._seats: dict[str, tuple[Any, list[Tensor]]] = {}  # per player: Lightning's optimizer, what it moves
        self._resumed: dict[str, Any] | None = None
        self._compiled: dict[str, Callable[..., Any]] = {}
        self._refer()
        self._refuse_parts()

    def _refuse_parts(self) -> None:
        """Raise ValueError where batches are split though a layer of anybody's looks at them as a whole."""
        modules = [m for name in self.players for m in self.player(name).network.modules()]
        layers = [m for m in modules if getattr(m, "coupled", False) or isinstance(m, BatchNorm)]
        for name in self.players if layers else ():
            if (parts := self.player(name).accumulate) > 1:
                what = type(layers[0]).__name__
                raise ValueError(
                    f"{what} looks at a batch as a whole: game.players.{name}.accumulate={parts} would change it; set 1"
                )

    def _refuse_ranks(self) -> None:
        """Raise Mistake where something looks at a batch as a whole and knows of one rank's alone."""
        for name in self.players:
            player = self.player(name)
            pieces = [*player.terms.values(), *player.network.modules()]
            for piece in pieces:
                if getattr(piece, "coupled", False) and not getattr(piece, "over_ranks", False):
                    raise Mistake(
                        f"{name}: {type(piece).__name__} looks at a batch as a whole, and each of {ranks.world()} "
                        "ranks sees a slice. Train on one device, or take its statistics over all ranks "
                        "(saddlepoint.ranks) and say over_ranks = True"
                    )

    def _refer(self) -> None:
        """Give layers of the generator that refer to latents (virtual batch norm) some of a stream of their own.

        Its average gets the same. Raises ValueError where such a layer stands elsewhere.
        """
        for name in self.players:
            kept = self.player(name).average
            for network in [self.player(name).network, *([] if kept is None else [kept.network])]:
                layers: list[Any] = [m for m in network.modules() if hasattr(m, "refer_to")]
                for layer in layers:
                    if name != "generator":
                        raise ValueError(f"{type(layer).__name__} refers to latents: it stands in the generator alone")
                    stream = Stream(self.seed, "reference", joint=True)
                    layer.refer_to(
                        network, self.prior.sample(layer.reference, stream), self.labels(layer.reference, stream)
                    )

    @property
    def generator(self) -> Player:
        return cast(Player, self.players["generator"])

    @property
    def discriminator(self) -> Player:
        return cast(Player, self.players["discriminator"])

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One round: each player whose turn it is descends its own loss, then the next answers."""
        for name in self.players:
            if self.due(name):
                self.gradients([name], batch)
                self.step(name, batch)
        self.advance(batch)

    def due(self, name: str) -> bool:
        """Whether `name` moves in this round; with every=5 it first moves in the fifth."""
        return (self.rounds + 1) % self.player(name).every == 0

    def gradients(self, names: Sequence[str], batch: Batch) -> None:
        """Leave in .grad what each named player is to descend; all look at one turn, and nobody else gets any."""
        if self.witness is not None:
            self.witness(names, batch)
        players = [self.player(name) for name in names]
        parts = players[0].accumulate
        for name in names:
            self.optimizer(name).zero_grad()
        latent = self.prior.sample(len(batch) * players[0].multiple, self.streams["latent"])
        for piece, code in [(batch, latent)] if parts == 1 else _parts(batch, latent, parts):
            turn = self.turn(piece, code, players)
            for name, player in zip(names, players, strict=True):
                losses = player.losses(replace(turn, player=player), self.rounds // player.every)
                if losses:
                    loss = cast(Tensor, sum(losses.values())) / parts
                    self.manual_backward(loss, inputs=self.parameters_of(name), retain_graph=player is not players[-1])
                seen = {side: getattr(turn, side).logits.detach() for side in SIDES if getattr(turn, side).seen}
                earlier = self.observed.get(name, ({}, {}))[0]  # a lazy term is reported as it was when last due
                self.observed[name] = {**earlier, **{term: loss.detach() for term, loss in losses.items()}}, seen
        self._share(names)

    def _share(self, names: Sequence[str]) -> None:
        """Take the mean over ranks of what the named players are to descend, and of what batch norm has seen.

        One message per step, whatever the number of backward passes behind it. Statistics that are shared each time
        follow the mean of the ranks' batches, and never have to be mended before they are looked at or saved.
        """
        if ranks.world() > 1:
            gradients = [p.grad for name in names for p in self.parameters_of(name) if p.grad is not None]
            ranks.average_([*gradients, *self._seen_by_batch_norm()])

    def _seen_by_batch_norm(self) -> list[Tensor]:
        """The running means and variances of the players' own networks."""
        layers = [m for name in self.players for m in self.player(name).network.modules() if isinstance(m, BatchNorm)]
        return [seen for layer in layers for seen in (layer.running_mean, layer.running_var) if seen is not None]

    def turn(self, batch: Batch, latent: Mapping[str, Tensor], players: Sequence[Player]) -> Turn:
        """What `players` see: fakes keep their path to the generator's weights only where it moves itself."""
        generating = self.generator in players
        slope_at = {side for p in players for term in p.due(self.rounds // p.every).values() for side in term.slope_at}
        generator, discriminator = self.as_played("generator"), self.as_played("discriminator")
        y = batch.y if batch.y is None or players[0].multiple == 1 else batch.y.repeat(players[0].multiple)
        with torch.set_grad_enabled(generating):
            fake = generator(latent, y)
        if not generating and "fake" in slope_at:  # a leaf, so that a penalty needs no second pass through D
            fake = fake.to(torch.promote_types(fake.dtype, torch.float32)).requires_grad_()
        real = batch.x.detach().requires_grad_("real" in slope_at)
        return Turn(
            real=Sample(real, batch.y, discriminator),
            fake=Sample(fake, y, discriminator, "fake" in slope_at),
            labelled=Sample(*batch.labelled, discriminator) if batch.labelled else None,
            latent=latent,
            stream=self.streams["augment"],
            player=players[0],
            prior=self.prior,
            generator=generator,
            discriminator=discriminator,
            images=self.images,
        )

    def compile_players(self, backend: str = "inductor") -> None:
        """Have torch.compile look after the passes of training: all of G's, and D's where no slope is asked for.

        A compiled function has a derivative, and no derivative of that (torch 2.15), which R1 and its kin need.
        """
        self._compiled = {name: torch.compile(self.player(name).network, backend=backend) for name in self.players}

    def as_played(self, name: str) -> Callable[..., Any]:
        """A player's network as a turn asks it."""
        plain = self.player(name).network
        if name not in self._compiled:
            return plain
        compiled = self._compiled[name]
        return (
            compiled
            if name == "generator"
            else lambda x, y=None: (plain if needs_input_gradient(x) else compiled)(x, y)
        )

    def step(self, name: str, batch: Batch) -> None:
        """Move one player along its gradients; its average follows."""
        player, optimizer = self.player(name), self.optimizer(name)
        player.reschedule(optimizer, self.images)
        optimizer.step()
        if player.average is not None:
            player.average.update(player.network, self.images + self._shown(batch))

    def advance(self, batch: Batch) -> None:
        """Count the round."""
        self.images += self._shown(batch)
        self.rounds += 1

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip here, and only here: a gradient scaler has been undone, by Lightning or, where it leaves that to a fused
        optimizer's step, now."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)
        for name, (own, moved) in self._seats.items():
            player = self.player(name)
            if player.clip is not None and own.optimizer is optimizer:
                player.gradient_norm = nn.utils.clip_grad_norm_(moved, player.clip)

    @property
    def classes(self) -> int | None:
        """How many classes the generator can be asked for; None where it is asked for none."""
        return getattr(self.generator.network, "classes", None)

    def labels(self, n: int, stream: Stream) -> Tensor | None:
        """n classes, each as probable as the other, for a generator that is asked for one; else None."""
        return None if self.classes is None else stream.integers(self.classes, n)

    def drawn_from(self, average: bool = True) -> tuple[nn.Module, str]:
        """The network that samples come from, and whose weights those are: "averaged" or "raw".

        Raises Mistake where these are not at hand.
        """
        kept = self.generator.average
        if not average or kept is None:
            if self.average_alone:
                raise Mistake("snapshots hold averaged weights: average=false finds nothing in them; checkpoints do")
            return self.generator.network, "raw"
        if kept.statistics == "reestimated" and kept.stale:
            kept.reestimate(self._statistics_batches())
        return kept.network, "averaged"

    def latent(self, n: int, seed: int | None = None) -> dict[str, Tensor]:
        """n latents, the named parts of the prior: [n, dim] each, on this game's device.

        The same ones at each call: those of `sample(n)`, or of another seed where one is given.
        """
        return self.prior.sample(n, Stream(self.seed if seed is None else seed, "evaluation", device=self.device))

    @torch.no_grad()
    def forward(
        self,
        latent: Mapping[str, Tensor],
        y: Tensor | None = None,
        average: bool = True,
        batch_norm: str = "running",
    ) -> Tensor:
        """game(latent): the samples [N, *shape] in [-1, 1], or points, of latents with parts [N, dim]; see `sample`.

        y [N] are the classes asked for; None: those that `sample(N)` draws, where the generator is asked for any.
        Raises ValueError for latents of another prior.
        """
        expected = {name: cast("Any", part).dim for name, part in self.prior.items()}
        if {name: part.shape[-1] for name, part in latent.items() if part.ndim == 2} != expected:
            found = {name: list(part.shape) for name, part in latent.items()}
            raise ValueError(
                f"latents of this game have parts {expected} (name: dim), each [N, dim]; these are {found}"
            )
        network, _ = self.drawn_from(average)
        n = len(next(iter(latent.values())))
        if y is None:
            y = self.labels(n, Stream(self.seed, "evaluation", device=self.device).child("labels"))
        code = {name: part.to(self.device) for name, part in latent.items()}
        modes = [(module, module.training) for module in network.modules()]
        try:
            with _batch_statistics(network if batch_norm == "batch" else None):
                return network.eval()(code, None if y is None else y.to(self.device))
        finally:
            for module, mode in modes:
                module.training = mode

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        stream: Stream | None = None,
        average: bool = True,
        batch_norm: str = "running",
    ) -> Tensor:
        """n samples of the generator in evaluation mode, of its average where it keeps one; [n, *shape] on its device.

        `stream` defaults to a fresh evaluation stream of this game's seed: the same latents at each call; y, where the
        generator is asked for classes, to classes drawn from its child `labels`.  n samples and then m of one stream
        are the n + m drawn at once.  batch_norm="batch" normalises by the statistics of these n samples instead of the
        running ones, which stay as they are.
        """
        stream = stream or Stream(self.seed, "evaluation")
        stream.device = self.device
        y = self.labels(n, stream.child("labels")) if y is None else y
        return self(self.prior.sample(n, stream), y, average, batch_norm)

    def report(self) -> dict[str, float]:
        """What each player's last turn showed: its losses, D's mean logit and probability per side, gradient norms.

        Means over ranks, so every rank has to ask. Norms are those before clipping. The keys are the cells of the
        table: discriminator/r1, generator/adversarial.
        """
        report: dict[str, Tensor] = {}
        for name, (losses, logits) in self.observed.items():
            report |= {f"{name}/{term}": loss for term, loss in losses.items()}
            report |= {f"{name}/logit_{side}": value.mean() for side, value in logits.items()}
            report |= {f"{name}/probability_{side}": value.sigmoid().mean() for side, value in logits.items()}
            report[f"{name}/gradient_norm"] = self.gradient_norm(name)
        if report:
            of_all = ranks.mean(torch.stack([value.double() for value in report.values()])).tolist()
            self.reported |= dict(zip(report, of_all, strict=True))
        return dict(self.reported)  # of who has not moved since a resume, what the checkpoint says

    def gradient_norm(self, name: str) -> Tensor:
        """The length of the gradient that `name` last followed, before clipping; a scalar."""
        if (norm := self.player(name).gradient_norm) is not None:
            return norm
        return nn.utils.get_total_norm([p.grad for p in self.parameters_of(name) if p.grad is not None])

    def configure_optimizers(self) -> list[Optimizer]:
        return [self.player(name).optimizer() for name in self.players]

    def on_fit_start(self) -> None:
        if ranks.world() > 1:
            self._refuse_ranks()
        for stream in self.streams.values():
            stream.rank, stream.world, stream.device = self.global_rank, self.trainer.world_size, self.device

    def on_train_start(self) -> None:
        wrapped = cast("list[Any]", self.optimizers())
        moved = [[p for group in own.optimizer.param_groups for p in group["params"]] for own in wrapped]
        self._seats = dict(zip(self.players, zip(wrapped, moved, strict=True), strict=True))
        if self.images == 0 and self._resumed is None:
            self._start()
        if self._resumed is not None:
            self._retune()

    def _retune(self) -> None:
        """Give each optimizer the settings of the config, which may allow others than those of its checkpoint."""
        for name in self.players:
            settings = self.player(name).optimizer().param_groups[0]
            for group in self.optimizer(name).optimizer.param_groups:
                group |= {key: value for key, value in settings.items() if key != "params"}

    def _start(self) -> None:
        """Show layers that start from data (weight norm) the first reals, those of the generator latents."""
        for name in self.players:
            player = self.player(name)
            layers: list[Any] = [m for m in player.network.modules() if hasattr(m, "start_from")]
            shown = (self._first_latents() if name == "generator" else self._first_reals()) if layers else ()
            with ranks.apart():  # each rank is shown all of them
                for layer in layers:
                    layer.start_from(player.network, *shown)
            if layers and player.average is not None:
                player.average.network.load_state_dict(player.network.state_dict())

    def _first_latents(self) -> tuple[dict[str, Tensor], Tensor | None]:
        stream = Stream(self.seed, "start", device=self.device, joint=True)
        return self.prior.sample(STARTING, stream), self.labels(STARTING, stream)

    def _first_reals(self) -> tuple[Tensor, Tensor | None]:
        """The first reals that training will show."""
        batches: list[Batch] = []
        for batch in cast("Any", self.trainer.train_dataloader):
            batch = batch.to(self.device)
            whole = None if batch.y is None else ranks.gathered(batch.y)
            batches.append(Batch(ranks.gathered(batch.x), whole))
            if sum(map(len, batches)) >= STARTING:
                break
        y = [batch.y for batch in batches if batch.y is not None]
        x = torch.cat([batch.x for batch in batches])[:STARTING]
        return x, torch.cat(y)[:STARTING] if y else None

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if self._resumed is not None:  # here, because whatever runs before may draw
            states, own = self._resumed["global"], ranks.rank()
            if own < len(states):
                set_global_state(states[own])
            else:  # a rank that was not there before
                torch.manual_seed(seed_of(self.seed, "global", own, self.images))
            self._resumed = None
        elif self.rounds == 0 and ranks.rank():  # all have been built alike; noise in a layer is each rank's own
            torch.manual_seed(seed_of(self.seed, "global", ranks.rank()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["saddlepoint"] = {
            "format": FORMAT,
            "seed": self.seed,
            "reported": self.report(),
            "images": self.images,
            "rounds": self.rounds,
            "streams": {name: stream.state for name, stream in self.streams.items()},
            "global": ranks.together(global_state()),
        }
        self._refuse_drift()

    def _refuse_drift(self) -> None:
        """Raise Mistake where the ranks do not hold the same game to the last bit."""
        if ranks.world() == 1:
            return
        held = self._held()
        if len(set(prints := ranks.together(ranks.fingerprint(held)))) > 1:
            each = ranks.together({name: ranks.fingerprint({name: tensor}) for name, tensor in held.items()})
            first = next(name for name in held if len({own[name] for own in each}) > 1)
            raise Mistake(
                f"after {self.images:,} images the ranks have drifted apart, first in {first} ({len(set(prints))} "
                "versions). Nothing was saved. Something moves weights outside of Game.step, or draws differ where "
                "they must not"
            )

    def _held(self) -> dict[str, Tensor]:
        """All that ranks have to hold alike, by name: weights, buffers, what optimizers remember, the streams."""
        held = dict((*self.named_parameters(), *self.named_buffers()))
        for name in self.players:
            for number, memory in self.optimizer(name).optimizer.state_dict()["state"].items():
                known = {key: value for key, value in memory.items() if isinstance(value, Tensor)}
                held |= {f"optimizer of {name}, parameter {number}, {key}": value for key, value in known.items()}
        return held | {f"stream {name}": stream.state for name, stream in self.streams.items()}

    def accept(self, state: Mapping[str, Any]) -> None:
        """Raise Mistake where a checkpoint is of another format or another seed's."""
        if state["format"] not in (1, FORMAT):
            raise Mistake(
                f"the checkpoint is of format {state['format']}, this version reads 1 and {FORMAT}: take the version "
                "that wrote it (provenance.json says which)"
            )
        if state["seed"] != self.seed:
            raise Mistake(
                f"the checkpoint is of seed {state['seed']}, this run of seed {self.seed}: it is another run's"
            )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["saddlepoint"]
        self.accept(state)
        self.images, self.rounds = state["images"], state["rounds"]
        for name, value in state["streams"].items():
            self.streams[name].state = value
        self.reported = dict(state["reported"])
        self._resumed = {**state, "global": state["global"] if state["format"] > 1 else [state["global"]]}

    def player(self, name: str) -> Player:
        return cast(Player, self.players[name])

    def optimizer(self, name: str) -> Any:
        """Lightning's wrapper of a player's optimizer, while a Trainer plays."""
        return self._seats[name][0]

    def parameters_of(self, name: str) -> list[Tensor]:
        """What a player moves, while a Trainer plays."""
        return self._seats[name][1]

    def _shown(self, batch: Batch) -> int:
        return len(batch) * self.trainer.world_size

    def _statistics_batches(self, batches: int = 16, size: int = 256) -> Iterator[tuple[Any, Any]]:
        stream = Stream(self.seed, "statistics", device=self.device, joint=True)
        return ((self.prior.sample(size, stream), self.labels(size, stream)) for _ in range(batches))


@contextmanager
def _batch_statistics(network: nn.Module | None) -> Iterator[None]:
    """Batch norm without running statistics, which makes it use the batch's own; they are put back afterwards."""
    layers = [m for m in network.modules() if isinstance(m, BatchNorm)] if network else []
    kept = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var = mean, variance


def _parts(batch: Batch, latent: Mapping[str, Tensor], parts: int) -> list[tuple[Batch, dict[str, Tensor]]]:
    """The batch and its latents in `parts` equal parts, in order.  Raises ValueError where they cannot be so split."""
    if len(batch) % parts:
        raise ValueError(f"a batch of {len(batch)} cannot be split in accumulate={parts} equal parts")
    columns = _chunks({"x": batch.x, "y": batch.y}, parts)
    labelled = _chunks(dict(enumerate(batch.labelled)), parts) if batch.labelled else [None] * parts
    pieces = [
        Batch(c["x"], c["y"], (own[0], own[1]) if own else None) for c, own in zip(columns, labelled, strict=True)
    ]
    return list(zip(pieces, _chunks(latent, parts), strict=True))


def _chunks(columns: Mapping[Any, Tensor | None], parts: int) -> list[dict[Any, Any]]:
    """Each tensor in `parts` equal parts."""
    split = {name: t.tensor_split(parts) if t is not None else (None,) * parts for name, t in columns.items()}
    return [{name: pieces[i] for name, pieces in split.items()} for i in range(parts)]
