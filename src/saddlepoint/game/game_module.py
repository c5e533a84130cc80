"""The LightningModule of a game: Lightning's hooks, optimizers and the gradient scaler. The rules are in `game.game`.

The torch optimizers are stepped directly. Lightning's wrappers count steps, which have no meaning if players move in
turns, and take a third of the time of a small round. Gradients are unscaled before any code uses them.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.autograd import profiler
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

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
GLOBAL_STEP_HOOKS = _global_optimizer_pre_hooks, _global_optimizer_post_hooks  # of all optimizers


class TurnObserver(Protocol):
    """An object that the game calls in every turn, on every rank (`game.observers`)."""

    def before_turn(self, game: Any, names: Sequence[str], batch: Batch) -> None:
        """Called before the named players move on `batch`, and before anything is drawn."""

    def before_step(self, game: Any, names: Sequence[str]) -> None:
        """Called before the step, with gradients unscaled and averaged over ranks, but not clipped."""


class GameModule(LightningModule):
    """A LightningModule with manual optimization that calls `round` on each batch."""

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
        self.block = 1  # rounds per step of Lightning, at most
        self.block_periods: Collection[int] = ()  # in images: a block ends at the multiples of each
        self.images_before_block = 0
        self.last_losses: dict[str, tuple[Named, Named]] = {}  # by player: last value of each term; last logits by side
        self.last_report: dict[str, float] = {}
        self.has_only_average = False  # whether only the averaged weights are known, as in a snapshot
        self.scaler: torch.amp.GradScaler | None = None  # under fp16, while a Trainer runs
        self.world_size = 1  # number of ranks
        self.compiled_networks: dict[str, Callable[..., Any]] = {}
        self.resumed_state: dict[str, Any] | None = None  # the game's state in a checkpoint, until the first round
        self.planned_privacy: tuple[float, float] | None = None  # epsilon and delta at the end of a private training
        self._optimizers: dict[str, Optimizer] = {}
        self._after_round: list[Callable[..., None]] = []
        self._trainable_parameters: dict[str, list[Tensor]] = {}

    def round(self, batch: Batch) -> None:
        """Play one round of the game."""
        raise NotImplementedError(f"{type(self).__name__} must define round(batch)")

    def prepare(self, data: Any, images: int) -> list[str]:
        """Called once before a training of `images` images on `data`; returns lines for the user."""
        return []

    def training_batches(self, data: Any, rank: int, world_size: int) -> Iterator[Batch]:
        """Return the batches of this rank, without end, from the current number of images on."""
        return data.training_batches(self.images, rank, world_size)

    def check_resume(self, state: Mapping[str, Any]) -> None:
        """Raise Mistake if this game must not continue from the `state` of a checkpoint (`game.state`)."""
        if "privacy" in state:
            raise Mistake(
                "the checkpoint is of a private run, and steps without privacy would make its guarantee false: "
                "resume.allow does not permit it"
            )

    def summary_facts(self) -> dict[str, Any]:
        """Return facts about the training so far for summary.json, by key."""
        return {}

    def register_players(self, players: nn.ModuleDict, makers: nn.ModuleDict) -> None:
        """Register the players and makers, also in __dict__, which skips the slow attribute look-up of nn.Module."""
        for name, modules in (("players", players), ("makers", makers)):
            self._modules[name] = self.__dict__[name] = modules
        self.hooked_modules = {
            hook: [module for modules in (players, makers) if modules for module in modules_with_hook(modules, hook)]
            for hook in ROUND_HOOKS
        }

    def run_at_images_hooks(self) -> None:
        """Call every `at_images` hook with the number of images shown (`game.hooks`)."""
        for module in self.hooked_modules["at_images"]:
            module.at_images(self.images)

    def run_after_turn_hooks(self, names: Sequence[str], turns: Sequence[Turn]) -> None:
        """Call every `after_turn` hook with the turns of the players that have moved (`game.hooks`)."""
        for module in self.hooked_modules["after_turn"]:
            for turn in turns:
                for name in names:
                    module.after_turn(name, turn.replace(player=self.players[name]))

    def player(self, name: str) -> Player:
        """Return a player by name."""
        return cast(Player, self.players[name])

    def __getattr__(self, name: str) -> Any:
        """Return a player, such as game.generator, if the game has no other attribute of that name."""
        modules = self.__dict__.get("_modules", {})
        if name not in modules and name in modules.get("players", ()):
            return modules["players"][name]
        return super().__getattr__(name)

    def networks(self) -> Mapping[str, Callable[..., Any]]:
        """Return the network of each player, compiled if it is, and each maker, by name."""
        compiled = self.compiled_networks
        networks: dict[str, Any] = {name: compiled.get(name) or p.network for name, p in self.players.items()}
        return networks | dict(self.makers.items()) if self.makers else networks

    def global_batch_size(self, batch: Batch) -> int:
        """Return the number of real images in the batches of all ranks."""
        return batch.x.shape[0] * self.world_size

    def count_round(self, batch: Batch) -> None:
        """Count a round and its real images; not by nn.Module.__setattr__, which is slow."""
        vars(self).update(images=self.images + self.global_batch_size(batch), rounds=self.rounds + 1)

    report, gradient_norm, sample = telemetry.report, telemetry.gradient_norm, sampling.sample
    forward = sampling.generate  # pyright: ignore[reportAssignmentType]  its first argument is called game

    def compile_players(self, backend: str = "inductor") -> None:
        """Compile the networks with torch.compile; a pass in which a slope is taken stays eager.

        Compiled code has no second derivative (torch 2.15), which R1 and similar penalties need.
        Raises Mistake if players move at once: they share a graph, and compiled code supports one backward pass.
        """
        if any(len(group) > 1 for group in self.order):
            raise Mistake(
                "players that move at once share one graph, which compiled code frees after one backward pass: set "
                "compile=false"
            )
        self.compiled_networks = {name: _compile_network(p.network, backend) for name, p in self.players.items()}

    def latent(self, n: int, seed: int | None = None) -> dict[str, Tensor]:
        """Return n latents, the named parts of the prior: [n, dim] each, on the device of the game.

        Every call returns the same latents: those of `sample(n)`, or those of `seed` if it is given.
        """
        return self.prior.sample(n, Stream(self.seed if seed is None else seed, "evaluation", device=self.device))

    def optimizer(self, name: str) -> Optimizer:
        """Return the optimizer of a player; only while a Trainer runs."""
        return self._optimizers[name]

    def trainable_parameters(self, name: str) -> list[Tensor]:
        """Return the parameters that a player's optimizer updates; only while a Trainer runs."""
        return self._trainable_parameters[name]

    def clear_gradients(self, name: str) -> None:
        """Remove the gradients of a player; as `zero_grad` of its optimizer, without an annotation for the profiler."""
        for parameter in self._trainable_parameters[name]:
            parameter.grad = None

    def accumulate_gradient(self, loss: Tensor, inputs: Sequence[Tensor], retain_graph: bool = False) -> None:
        """Add the gradient of `loss` to the .grad of `inputs` only."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        torch.autograd.backward(scaled, retain_graph=retain_graph, inputs=inputs)

    def step_optimizer(self, name: str) -> None:
        """Step the optimizer of a player; with a scaler, skip the step if a gradient has overflowed."""
        if self.scaler is None:
            _step_plainly(self._optimizers[name])
            return
        self.scaler.step(self._optimizers[name])
        self.scaler.update()

    def training_step(self, batch: Batch | Iterator[Batch], batch_idx: int) -> None:
        """Play a round on a batch, or a block of rounds on the next batches of an iterator.

        A block has `block` rounds, fewer where a callback is due or stops the run. Lightning's own work takes about as
        long as a round of a small game, and is done once per block. `after_round` of callbacks is called in each round.
        """
        self.images_before_block = self.images
        end = min(((self.images // period + 1) * period for period in self.block_periods), default=math.inf)
        trainer, device = self.trainer, self.device
        for round_batch in (batch,) if isinstance(batch, Batch) else islice(batch, self.block):
            self.round(round_batch.to(device))
            for after_round in self._after_round:
                after_round(trainer, self)
            if self.images >= end or trainer.should_stop:
                break
        if self.images == self.images_before_block:
            raise Mistake("the training batches of the data have ended: training_batches must be an endless iterator")

    def configure_optimizers(self) -> list[Optimizer]:
        return [player.build_optimizer() for player in self.players.values()]

    def on_fit_start(self) -> None:
        """Raise Mistake if the game cannot be trained on several ranks, or with this precision."""
        self.world_size = ranks.world_size()
        self.scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if self.world_size > 1:
            check_coupled_modules(self)
        if self.scaler is not None and (group := next((group for group in self.order if len(group) > 1), None)):
            raise Mistake(
                f"trainer.precision=16-mixed: {' and '.join(group)} move at once, and their gradients share one scale, "
                "which may change between their steps; use bf16-mixed"
            )
        for stream in self.streams.values():
            stream.rank, stream.world_size, stream.device = self.global_rank, self.trainer.world_size, self.device

    def on_train_start(self) -> None:
        callbacks: list[Any] = self.trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        self._after_round = [callback.after_round for callback in callbacks if hasattr(callback, "after_round")]
        optimizers: Any = self.optimizers(use_pl_optimizer=False)  # of one player not a list
        self._optimizers = dict(zip(self.players, optimizers if len(self.players) > 1 else [optimizers], strict=True))
        self._trainable_parameters = {
            name: [p for group in optimizer.param_groups for p in group["params"]]
            for name, optimizer in self._optimizers.items()
        }
        for name, optimizer in self._optimizers.items() if self.resumed_state is not None else ():
            # the settings of the config, which may differ from those of the checkpoint
            settings = self.player(name).build_optimizer().param_groups[0]
            for group in optimizer.param_groups:
                group |= {key: value for key, value in settings.items() if key != "params"}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device) if isinstance(batch, Batch) else batch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Restore torch's global generators from a checkpoint; not earlier, because code before the round may draw."""
        rank = ranks.rank()
        if self.resumed_state is not None:
            states = self.resumed_state["global"]
            if rank < len(states):
                set_global_random_state(states[rank])
            else:  # the checkpoint was written by fewer ranks
                torch.manual_seed(derive_seed(self.seed, "global", rank, self.images))
            self.resumed_state = None
        elif self.rounds == 0 and rank:  # all ranks were built with one seed, but noise in layers must differ
            torch.manual_seed(derive_seed(self.seed, "global", rank))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["saddlepoint"] = state.game_state(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state.restore_state(self, checkpoint["saddlepoint"])
        self.run_at_images_hooks()


def _step_plainly(optimizer: Optimizer) -> None:
    """Step an optimizer, without torch's wrapper of `step` if nothing uses it: neither a hook nor the profiler.

    The wrapper takes a twentieth of the time of a small round.
    """
    step: Any = type(optimizer).step
    if (
        profiler._is_profiler_enabled
        or optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or any(GLOBAL_STEP_HOOKS)
        or "step" in vars(optimizer)
        or not hasattr(step, "hooked")
    ):
        optimizer.step()
    else:
        step.__wrapped__(optimizer)


def _compile_network(network: nn.Module, backend: str) -> Callable[..., Any]:
    compiled = torch.compile(network, backend=backend)

    def forward(x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        return (network if needs_input_gradient(x) else compiled)(x, condition)

    return forward
