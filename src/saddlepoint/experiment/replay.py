"""Replay of a turn that produced NaN or infinity, from its dump, with hooks on every module."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader

from saddlepoint.callback import dump
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.fit import build_trainer
from saddlepoint.game.game import Game
from saddlepoint.stream import set_global_random_state
from saddlepoint.turn import tensors_in


@dataclass
class ReplayResult:
    """The result of replaying a turn."""

    first_bad_module: str | None = None  # the first with a non-finite output, and a description of its input
    first_bad_parameter: str | None = None  # the first in the backward pass with a non-finite gradient
    gradient_counts: tuple[int, int] = (0, 0)  # parameters with a non-finite gradient, and all parameters
    largest_gradient: float = 0.0  # the largest magnitude of the finite gradients
    nonfinite_weights: list[str] = field(default_factory=list)  # the weights that were non-finite before the turn
    turn_values: dict[str, Any] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)  # the values that differ from the dump, compared bit for bit


def caveats(config: CheckedConfig, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the reasons why a replay may differ from the original turn."""
    if (device := resolve_device(config).type) != content["device"]:
        yield f"the turn was computed on {content['device']} and is replayed on {device}: the last bits may differ"
    if content["noticed"] == "after":
        yield "the error was noticed after the step, before a save: the weights are those after the turn, not before it"
    if content["world"] > 1:
        yield f"rank {content['rank']} of {content['world']} is replayed alone, with its own terms and gradient"
    if config.compile:
        yield "it is replayed without torch.compile, because hooks need modules: the last bits may differ"
    if (version := content["versions"]["torch"]) != torch.__version__:
        yield f"the turn was computed with torch {version}, and this is {torch.__version__}: the last bits may differ"


def replay_turn(config: CheckedConfig, dump_content: Mapping[str, Any]) -> ReplayResult:
    """Compute the gradients of a dumped turn again, with hooks on every module, and compare them with the dump.

    Sets the number of threads and the global random generators. Raises Mistake if the dump belongs to another game.
    """
    config = OmegaConf.merge(config, {"devices": 1, "nodes": 1})  # pyright: ignore[reportAssignmentType]
    game = build_game(config)
    set_threads(config, game)
    load_dump_weights(game, dump_content)
    result = ReplayResult(
        nonfinite_weights=[name for name, p in game.named_parameters() if not torch.isfinite(p).all()]
    )
    trainer = build_trainer(config, [])

    def replay_step(batch: Any, batch_idx: int) -> None:
        restore_turn_state(game, dump_content)
        handles = list(_register_hooks(game, dump_content["players"], result))
        game.compute_gradients(dump_content["players"], batch)
        for handle in handles:
            handle.remove()
        compare_with_dump(game, dump_content, result, str(config.trainer.precision))
        trainer.should_stop = True

    game.training_step = replay_step  # replaces a round, so that the trainer handles precision and device
    trainer.fit(game, train_dataloaders=DataLoader([dump.batch_from_dump(dump_content)], batch_size=None))  # pyright: ignore[reportArgumentType]
    return result


def load_dump_weights(game: Game, content: Mapping[str, Any]) -> None:
    """Load the weights of a dump into `game`.  Raises Mistake if they belong to another network or seed."""
    if content["seed"] != game.seed:
        raise Mistake(f"the dump has seed {content['seed']} and the run has seed {game.seed}: give its run=...")
    game.images, game.rounds = content["images"], content["rounds"]  # so that no layer is initialised from data again
    try:
        game.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        reason = [*str(error).splitlines(), ""][1].strip()[:160]
        raise Mistake(f"the dump belongs to another game than this run: {reason}") from None


def restore_turn_state(game: Game, content: Mapping[str, Any]) -> None:
    """Restore the counters, streams and random generators of the start of the turn; building the game has drawn."""
    load_dump_weights(game, content)
    for name, state in content["streams"].items():
        stream = game.streams[name]
        stream.state, stream.rank, stream.world_size = state, content["rank"], content["world"]
    set_global_random_state(content["global"])


def _register_hooks(game: Game, players: Sequence[str], result: ReplayResult) -> Iterator[Any]:
    """Register hooks that find the first module with a non-finite output and the first such gradient."""

    def check_output(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if result.first_bad_module is None and any(not torch.isfinite(x).all() for x in _float_tensors(output)):
            input_tensors = [x for x in _float_tensors(inputs) if x.numel()]
            input_is_finite = all(torch.isfinite(x).all() for x in input_tensors)
            input_magnitude = max((largest_magnitude(x) for x in input_tensors), default=0.0)
            input_state = f"was finite, up to {input_magnitude:.3g}" if input_is_finite else "was non-finite"
            weight_magnitude = max((largest_magnitude(p) for p in module.parameters()), default=0.0)
            weights = f"its weights are up to {weight_magnitude:.3g}"
            result.first_bad_module = f"{name} ({type(module).__name__}); its input {input_state}, {weights}"

    def check_gradient(name: str, parameter: Tensor) -> None:
        if (
            result.first_bad_parameter is None
            and parameter.grad is not None
            and not torch.isfinite(parameter.grad).all()
        ):
            result.first_bad_parameter = name

    for name in game.players:
        player = game.player(name)
        for attribute in ("network", "regularizers"):
            for path, module in getattr(player, attribute).named_modules(prefix=f"players.{name}.{attribute}"):
                yield module.register_forward_hook(partial(check_output, path))
        for path, p in player.network.named_parameters(prefix=f"players.{name}.network") if name in players else ():
            yield p.register_post_accumulate_grad_hook(partial(check_gradient, path))


def compare_with_dump(game: Game, content: Mapping[str, Any], result: ReplayResult, precision: str) -> None:
    """Compare the gradients and values after the replayed turn with those in the dump, and store them in `result`."""
    gradients = [g for name in content["players"] for g in dump.named_gradients(game, name).values()]
    result.gradient_counts = sum(not bool(torch.isfinite(g).all()) for g in gradients), len(gradients)
    result.largest_gradient = max((largest_magnitude(g) for g in gradients), default=0.0)
    result.turn_values = dump.turn_results(game, content["players"])
    gradient_is_comparable = content["world"] == 1 and precision != "16-mixed"  # else averaged or scaled
    for name, recorded in content["seen"].items():
        replayed = result.turn_values[name]
        for kind in ("terms", "logits"):
            for key, value in recorded[kind].items():
                term = game.player(name).terms.get(key) if kind == "terms" else None
                if term is not None and game.rounds // game.player(name).every % term.every:
                    continue  # a lazy term that was not due has an old value
                if key not in replayed[kind] or _raw_bytes(value) != _raw_bytes(replayed[kind][key]):
                    result.mismatches.append(f"{name}/{key}")
        if gradient_is_comparable and recorded["gradient"] != replayed["gradient"]:
            result.mismatches.append(f"the gradient of {name}")


def largest_magnitude(x: Tensor) -> float:
    """Return the largest magnitude of the finite elements, 0 if there are none."""
    return x.detach().abs().nan_to_num(0.0, 0.0, 0.0).max().item() if x.numel() else 0.0


def _float_tensors(value: Any) -> Iterator[Tensor]:
    return (x for x in tensors_in(value) if x.is_floating_point())


def _raw_bytes(x: Tensor) -> tuple[Any, ...]:
    return x.dtype, tuple(x.shape), x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
