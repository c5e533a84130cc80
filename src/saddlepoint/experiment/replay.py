"""A turn that came to no number, played again from its dump, with an eye on each module."""

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
    """What the second playing of a turn showed."""

    module: str | None = None  # the first whose output is no number, and what went into it
    parameter: str | None = None  # the first that the way back reached with a gradient that is none
    parameters: tuple[int, int] = (0, 0)  # how many such, of how many
    gradient: float = 0.0  # the largest in size, of those that are numbers
    weights: list[str] = field(default_factory=list)  # that were none already
    turn_values: dict[str, Any] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)  # what is not, bit for bit, as it was


def caveats(config: CheckedConfig, content: Mapping[str, Any]) -> Iterator[str]:
    """Why this turn may come out otherwise than it did."""
    if (kind := resolve_device(config).type) != content["device"]:
        yield f"the turn was played on {content['device']} and is played again on {kind}: last bits may differ"
    if content["noticed"] == "after":
        yield "noticed before a save, after the step: the weights are those that the turn led to, not those it saw"
    if content["world"] > 1:
        yield (
            f"the turn of rank {content['rank']} of {content['world']} is played alone: its own terms, its own gradient"
        )
    if config.compile:
        yield "it is played without torch.compile, so that modules can be watched: last bits may differ"
    if (then := content["versions"]["torch"]) != torch.__version__:
        yield f"torch was {then} and is {torch.__version__}: last bits may differ"


def replay_turn(config: CheckedConfig, content: Mapping[str, Any]) -> ReplayResult:
    """Play the turn of a dump again.  Raises Mistake where it is the turn of another game."""
    config = OmegaConf.merge(config, {"devices": 1, "nodes": 1})  # pyright: ignore[reportAssignmentType]
    game = build_game(config)
    set_threads(config, game)
    load_dump_weights(game, content)
    found = ReplayResult(weights=[name for name, p in game.named_parameters() if not torch.isfinite(p).all()])
    trainer = build_trainer(config, [])

    def again(batch: Any, batch_idx: int) -> None:
        restore_turn_state(game, content)
        handles = list(_watches(game, content["players"], found))
        game.compute_gradients(content["players"], batch)
        for handle in handles:
            handle.remove()
        compare_with_dump(game, content, found, str(config.trainer.precision))
        trainer.should_stop = True

    game.training_step = again  # in the place of a round, so that precision and device are the trainer's affair
    trainer.fit(game, train_dataloaders=DataLoader([dump.batch_from_dump(content)], batch_size=None))  # pyright: ignore[reportArgumentType]
    return found


def load_dump_weights(game: Game, content: Mapping[str, Any]) -> None:
    """Put a dump's weights into `game`.  Raises Mistake where they are another network's or another seed's."""
    if content["seed"] != game.seed:
        raise Mistake(f"the dump is of seed {content['seed']}, the run of seed {game.seed}: name its own run=...")
    game.images, game.rounds = content["images"], content["rounds"]  # no layer starts from data again
    try:
        game.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        why = [*str(error).splitlines(), ""][1].strip()[:160]
        raise Mistake(f"the dump is of another game than this run's: {why}") from None


def restore_turn_state(game: Game, content: Mapping[str, Any]) -> None:
    """Put counters, streams and generators where they stood as the turn began; building and starting have drawn."""
    load_dump_weights(game, content)
    for name, state in content["streams"].items():
        stream = game.streams[name]
        stream.state, stream.rank, stream.world_size = state, content["rank"], content["world"]
    set_global_random_state(content["global"])


def _watches(game: Game, players: Sequence[str], found: ReplayResult) -> Iterator[Any]:
    """Hooks that write into `found` which module, and which gradient, is the first to be no number."""

    def out(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if found.module is None and any(not torch.isfinite(x).all() for x in _numbers(output)):
            before = [x for x in _numbers(inputs) if x.numel()]
            sound = all(torch.isfinite(x).all() for x in before)
            size = max((largest_magnitude(x) for x in before), default=0.0)
            came = f"was numbers up to {size:.3g} in size" if sound else "was none already"
            own = max((largest_magnitude(p) for p in module.parameters()), default=0.0)
            found.module = f"{name} ({type(module).__name__}); what went in {came}, its weights are up to {own:.3g}"

    def back(name: str, parameter: Tensor) -> None:
        if found.parameter is None and parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            found.parameter = name

    for name in game.players:
        player = game.player(name)
        for part in ("network", "regularizers"):
            for place, module in getattr(player, part).named_modules(prefix=f"players.{name}.{part}"):
                yield module.register_forward_hook(partial(out, place))
        for place, p in player.network.named_parameters(prefix=f"players.{name}.network") if name in players else ():
            yield p.register_post_accumulate_grad_hook(partial(back, place))


def compare_with_dump(game: Game, content: Mapping[str, Any], found: ReplayResult, precision: str) -> None:
    """Look at what the turn has left, and hold it against what the dump says of it."""
    gradients = [g for name in content["players"] for g in dump.named_gradients(game, name).values()]
    found.parameters = sum(not bool(torch.isfinite(g).all()) for g in gradients), len(gradients)
    found.gradient = max((largest_magnitude(g) for g in gradients), default=0.0)
    found.turn_values = dump.turn_results(game, content["players"])
    whole = content["world"] == 1 and precision != "16-mixed"  # else what it met was a mean over ranks, or scaled
    for name, then in content["seen"].items():
        again = found.turn_values[name]
        for part in ("terms", "logits"):
            for key, value in then[part].items():
                own = game.player(name).terms.get(key) if part == "terms" else None
                if own is not None and game.rounds // game.player(name).every % own.every:
                    continue  # a lazy term that was not due is only remembered
                if key not in again[part] or _bits(value) != _bits(again[part][key]):
                    found.mismatches.append(f"{name}/{key}")
        if whole and then["gradient"] != again["gradient"]:
            found.mismatches.append(f"the gradient of {name}")


def largest_magnitude(x: Tensor) -> float:
    """The largest size of those elements that are numbers, 0 where none is."""
    return x.detach().abs().nan_to_num(0.0, 0.0, 0.0).max().item() if x.numel() else 0.0


def _numbers(value: Any) -> Iterator[Tensor]:
    return (x for x in tensors_in(value) if x.is_floating_point())


def _bits(x: Tensor) -> tuple[Any, ...]:
    return x.dtype, tuple(x.shape), x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
