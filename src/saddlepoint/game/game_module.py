"""Lightning's side of a game: its hooks, the optimizers and the scaler.  What is played stands in `game.game`.

Optimizers are stepped as torch's own: Lightning's wrappers count steps, which mean nothing where players move in turn,
and cost a third of a small round.  A gradient scaler is undone before anything looks at gradients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game import sampling, state, telemetry
from saddlepoint.game.data_parallel import check_coupled_modules
from saddlepoint.game.hooks import ROUND_HOOKS, modules_with_hook
from saddlepoint.game.player import Player
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream, derive_seed, set_global_random_state
from saddlepoint.turn import UNCONDITIONAL, Batch, Condition, Turn, needs_input_gradient

Named = dict[str, Tensor]


class TurnObserver(Protocol):
    """What is called by the game itself, around every turn and every step, on every rank."""

    def before_turn(self, game: Any, names: Sequence[str], batch: Batch) -> None:
        """The named players are about to move on `batch`; nothing has been drawn yet."""

    def before_step(self, game: Any, names: Sequence[str]) -> None:
        """Their gradients are there, unscaled, the mean over ranks, not yet clipped."""


class GameModule(LightningModule):
    """A LightningModule with manual optimization that plays `round` on each batch."""

    players: Any  # nn.ModuleDict of Player
    makers: Any
    prior: Prior
    seed: int
    order: Any  # groups of players, list[list[str]]
    streams: dict[str, Stream]

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.images = self.rounds = 0
        self.observers: list[TurnObserver] = []
        self.last_losses: dict[str, tuple[Named, Named]] = {}  # each term as last due; the logits of the last turn
        self.last_report: dict[str, float] = {}
        self.has_only_average = False  # whether of the sampled player only its average is known, as in a snapshot
        self.scaler: torch.amp.GradScaler | None = None  # under fp16, while a Trainer plays
        self.world_size = 1  # ranks that play
        self.compiled_networks: dict[str, Callable[..., Any]] = {}
        self.resumed_state: dict[str, Any] | None = None  # a checkpoint's own state, until the first round
        self._optimizers: dict[str, Optimizer] = {}
        self._moved: dict[str, list[Tensor]] = {}

    def round(self, batch: Batch) -> None:
        """One round of the game."""
        raise NotImplementedError(f"{type(self).__name__} must define round(batch)")

    def register_players(self, players: nn.ModuleDict, makers: nn.ModuleDict) -> None:
        """Make these the players and makers; found without nn.Module's own search, which every look-up would pay."""
        for name, modules in (("players", players), ("makers", makers)):
            self._modules[name] = self.__dict__[name] = modules
        self.hooked_modules = {
            hook: [*modules_with_hook(players, hook), *modules_with_hook(makers, hook)] for hook in ROUND_HOOKS
        }

    def run_at_images_hooks(self) -> None:
        """Tell the modules that follow the clock how many images have been shown (`game.hooks`)."""
        for hook in self.hooked_modules["at_images"]:
            hook.at_images(self.images)

    def run_after_turn_hooks(self, names: Sequence[str], turns: Sequence[Turn]) -> None:
        """Show the modules that ask for it what the players that have moved have seen (`game.hooks`)."""
        for hook in self.hooked_modules["after_turn"]:
            for turn in turns:
                for name in names:
                    hook.after_turn(name, replace(turn, player=self.players[name]))

    def player(self, name: str) -> Player:
        """The player called `name`."""
        return cast(Player, self.players[name])

    def __getattr__(self, name: str) -> Any:
        """A player by its name, game.generator, where the game has no attribute of its own that is called so."""
        modules = self.__dict__.get("_modules", {})
        if name not in modules and name in modules.get("players", ()):
            return modules["players"][name]
        return super().__getattr__(name)

    def networks(self) -> Mapping[str, Callable[..., Any]]:
        """The network of each player, compiled where it is, and each maker, by name."""
        own: dict[str, Any] = {name: self.compiled_networks.get(name) or p.network for name, p in self.players.items()}
        return own | dict(self.makers.items()) if self.makers else own

    def global_batch_size(self, batch: Batch) -> int:
        """The real images of a batch, on all ranks together."""
        return batch.x.shape[0] * self.world_size

    report, gradient_norm, sample = telemetry.report, telemetry.gradient_norm, sampling.sample
    forward = sampling.generate  # pyright: ignore[reportAssignmentType]  its first argument is called game

    def compile_players(self, backend: str = "inductor") -> None:
        """Have torch.compile make the passes of training: all of a maker's, and a judge's where no slope is asked for.

        A compiled function has a derivative, and no derivative of that (torch 2.15), which R1 and its kin need.
        Raises Mistake where players move at once: a turn is gone back through once per player, a compiled pass once.
        """
        if any(len(group) > 1 for group in self.order):
            raise Mistake(
                "players that move at once share one graph, which compiled code throws away: set compile=false"
            )
        self.compiled_networks = {
            name: _eager_where_steep(player.network, backend) for name, player in self.players.items()
        }

    def latent(self, n: int, seed: int | None = None) -> dict[str, Tensor]:
        """n latents, the named parts of the prior: [n, dim] each, on the game's device.

        The same ones at each call: those of `sample(n)`, or of another seed where one is given.
        """
        return self.prior.sample(n, Stream(self.seed if seed is None else seed, "evaluation", device=self.device))

    def optimizer(self, name: str) -> Optimizer:
        """A player's optimizer, while a Trainer plays."""
        return self._optimizers[name]

    def trainable_parameters(self, name: str) -> list[Tensor]:
        """What a player moves, while a Trainer plays."""
        return self._moved[name]

    def accumulate_gradient(self, loss: Tensor, inputs: Sequence[Tensor], retain_graph: bool = False) -> None:
        """Add the gradient of `loss` to the .grad of `inputs`, and of nothing else."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward(inputs=inputs, retain_graph=retain_graph)

    def step_optimizer(self, name: str) -> None:
        """Step a player's optimizer; under a scaler, not where a gradient has overflowed."""
        if self.scaler is None:
            self._optimizers[name].step()
            return
        self.scaler.step(self._optimizers[name])
        self.scaler.update()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self.round(batch)

    def configure_optimizers(self) -> list[Optimizer]:
        return [self.player(name).optimizer() for name in self.players]

    def on_fit_start(self) -> None:
        """Raises Mistake for what cannot be played by these ranks, or in this precision."""
        self.world_size = ranks.world_size()
        self.scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if self.world_size > 1:
            check_coupled_modules(self)
        if self.scaler is not None and (group := next((group for group in self.order if len(group) > 1), None)):
            raise Mistake(
                f"trainer.precision=16-mixed: {' and '.join(group)} move at once and have gradients of one scale, "
                "which may change between their steps; take bf16-mixed"
            )
        for stream in self.streams.values():
            stream.rank, stream.world_size, stream.device = self.global_rank, self.trainer.world_size, self.device

    def on_train_start(self) -> None:
        self._optimizers = dict(zip(self.players, self.optimizers(use_pl_optimizer=False), strict=True))  # pyright: ignore[reportArgumentType]
        self._moved = {
            name: [p for group in own.param_groups for p in group["params"]] for name, own in self._optimizers.items()
        }
        for name, own in self._optimizers.items() if self.resumed_state is not None else ():
            # the settings of the config, which may allow others than those of the checkpoint
            settings = self.player(name).optimizer().param_groups[0]
            for group in own.param_groups:
                group |= {key: value for key, value in settings.items() if key != "params"}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Put torch's global generators where the checkpoint had them: here, because whatever runs before may draw."""
        if self.resumed_state is not None:
            states, own = self.resumed_state["global"], ranks.rank()
            if own < len(states):
                set_global_random_state(states[own])
            else:  # a rank that was not there before
                torch.manual_seed(derive_seed(self.seed, "global", own, self.images))
            self.resumed_state = None
        elif self.rounds == 0 and ranks.rank():  # all have been built alike; noise in a layer is each rank's own
            torch.manual_seed(derive_seed(self.seed, "global", ranks.rank()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["saddlepoint"] = state.game_state(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state.restore_state(self, checkpoint["saddlepoint"])
        self.run_at_images_hooks()


def _eager_where_steep(network: nn.Module, backend: str) -> Callable[..., Any]:
    fast = torch.compile(network, backend=backend)

    def ask(x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        return (network if needs_input_gradient(x) else fast)(x, condition)

    return ask
