"""Samples of a game: from its averaged networks, in evaluation mode, of streams that training does not draw from.

The side `samples` is made as a turn makes it, whatever it starts from and whoever makes it, of latents and of its
leaves (`game.lineage`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.average import BatchNorm
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.lineage import (
    class_condition,
    condition_columns,
    condition_draws,
    condition_entries,
    generator_of,
    judge_of,
    sampling_players,
    sampling_players_in_order,
    upstream_sides,
)
from saddlepoint.game.side import LATENT
from saddlepoint.modality.modality import Modality
from saddlepoint.mode import in_mode
from saddlepoint.stream import Stream, preserve_random_state
from saddlepoint.turn import UNCONDITIONAL, Batch, Condition, Sample, Turn, batch_from_columns

DROPOUT = nn.modules.dropout._DropoutNd
PASSES, ROWS = 16, 256  # over which batch-norm statistics are measured anew


def draw_condition(game: Any, n: int, stream: Stream, given: Condition = UNCONDITIONAL) -> Condition:
    """What n samples are asked for under, name -> [n, ...], where nobody says: columns as `game.conditions`, and draws.

    What is `given` stays, and named draws are made all the same.  Raises Mistake where there are columns to be asked
    for, and they come from nowhere.
    """
    if not condition_entries(game):
        return {**given}
    columns = {name: entry for name, entry in condition_columns(game).items() if name not in given}
    asked = game.conditions.columns(columns, n, stream)
    return {**asked, **draw_from_priors(game, n, lambda draw: stream.child(f"{LATENT}/{draw}")), **given}


def draw_from_priors(game: Any, n: int, stream_of: Callable[[str], Stream]) -> dict[str, Tensor]:
    """n rows of each condition that is a part of a named draw, such as a mask; each draw is made of a stream's own."""
    if not (parts := condition_draws(game)):
        return {}
    draws = dict.fromkeys(draw for draw, _ in parts.values())
    made = {draw: game.priors[draw].sample(n, stream_of(draw)) for draw in draws}
    return {name: made[draw][part] for name, (draw, part) in parts.items()}


def prepare_sampling_networks(game: Any, average: bool = True) -> tuple[dict[str, nn.Module], str]:
    """The networks that samples pass through, by name, ready for it, and whose weights they have (`sampling_modules`).

    Raises Mistake where weights are not at hand.
    """
    networks, whose = sampling_modules(game, average)
    if not average and game.has_only_average:
        raise Mistake("snapshots hold averaged weights: average=false finds nothing in them; checkpoints do")
    for network in networks.values():
        for hook in modules_with_hook(network, "at_images"):
            hook.at_images(game.images)
    for name in sampling_players_in_order(game) if average else ():
        own = game.players[name].average
        if own is not None and own.statistics == "reestimated" and own.has_stale_statistics:
            stream = Stream(game.seed, "statistics", device=game.device, joint=True)
            with _evaluating(list(networks.values())):
                own.reestimate_statistics(network_inputs(game, name, ROWS, stream, networks) for _ in range(PASSES))
    return networks, whose


def sampling_modules(game: Any, average: bool = True) -> tuple[dict[str, nn.Module], str]:
    """The players' networks, or averages, and the makers that samples pass through, as they are.

    And whose weights these are: "averaged", "raw", or "partly averaged" where not every player keeps an average.
    """
    names, networks, averaged = sampling_players(game) or [generator_of(game)], {}, set()  # which raises
    for name in names:
        player = game.players[name]
        kept = player.average if average else None
        networks[name] = player.network if kept is None else kept.network
        averaged.add(kept is not None)
    for side in upstream_sides(game).values() if game.makers else ():
        for name in side.by:
            if name in game.makers:
                networks[name] = game.makers[name]
    first = game.players[names[0]].average
    weights = "partly averaged" if len(averaged) > 1 else "averaged" if average and first is not None else "raw"
    return networks, weights


def sampling_contract(game: Any, average: bool, batch_norm: str, batch: int) -> dict[str, Any]:
    """A contract's `weights`, `batch_norm` and `dropout` for samples of the game, drawn `batch` at a time."""
    networks, weights = sampling_modules(game, average)
    layers = [module for network in networks.values() for module in network.modules() if isinstance(module, BatchNorm)]
    whole = f"batch of {batch}"  # what a sample is depends on those beside it
    if batch_norm == "batch":
        statistics = [whole]
    else:
        kept = [own for name in sampling_players(game) if average and (own := game.player(name).average) is not None]
        anew = any(own.statistics == "reestimated" for own in kept) and bool(layers)
        beside = any(map(is_batch_dependent, networks.values()))
        statistics = ["reestimated" if anew else "running", *([whole] if beside else [])]
    return {"weights": weights, "batch_norm": ", ".join(statistics), "dropout": game.dropout}


def is_batch_dependent(network: nn.Module) -> bool:
    """Whether a sample's output of `network`, in evaluation mode too, depends on the samples beside it.

    So it does behind minibatch discrimination and its kin (a layer that says `coupled`), and behind batch norm that
    keeps no running statistics.
    """
    for module in network.modules():
        if getattr(module, "coupled", False) or (isinstance(module, BatchNorm) and module.running_mean is None):
            return True
    return False


def full_batches(n: int, size: int) -> list[Tensor]:
    """n rows, in order, as batches of `size`: int64 [size] each; of fewer rows than that, one batch.

    How a network answers that is `batch_dependent` depends on how many samples it is asked at once, so a discriminator
    is asked by batches of the size that it is trained on, all of them full.  The last is filled up with the first rows
    again: the answers to these come after the n-th, and are to be dropped.
    """
    return list(torch.arange(n if n < size else -(-n // size) * size).remainder(n).split(size))


def sampling_state(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """What these networks hold: the state of the only one that has any, else each one's under its name."""
    own = [network.state_dict() for network in networks.values() if network.state_dict()]
    return own[0] if len(own) == 1 else nn.ModuleDict(dict(networks)).state_dict()


def load_sampling_state(networks: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> None:
    """Put back what `sampling_state` gave.  Raises RuntimeError where it is of other networks."""
    own = [network for network in networks.values() if network.state_dict()]
    (own[0] if len(own) == 1 else nn.ModuleDict(dict(networks))).load_state_dict(dict(state))


def network_inputs(
    game: Any, name: str, n: int, stream: Stream, networks: Mapping[str, Any] | None = None
) -> tuple[Any, Condition]:
    """What the network of `name`, which makes samples, is given when n of them are made: x and its condition."""
    latent = game.prior.sample(n, stream)
    turn = build_sampling_turn(game, latent, draw_condition(game, n, stream), {**game.networks(), **(networks or {})})
    side = next(side for side in upstream_sides(game).values() if name in side.by)
    return turn.maker_inputs(side, name)


def class_grid(game: Any, modality: Modality, rows: int, columns: int) -> tuple[int, Condition]:
    """How many samples a picture shows, and their labels: a class per row, one after the other.

    Up to twice as many rows as asked for, where that shows every class.  No labels where samples are not asked for by
    class alone, and where a picture has no rows (points).
    """
    name, size = class_condition(game), game.conditions.classes.get("y")
    if name is None or size is None or game.conditions.source != "labels" or modality.draws_over_reals:
        return modality.samples_per_picture(rows, columns), {}
    rows = size if rows < size <= 2 * rows else rows
    n = modality.samples_per_picture(rows, columns)
    return n, {name: (torch.arange(n) // max(1, n // rows) % size).to(game.device)}


@torch.no_grad()
def generate(
    game: Any,
    latent: Mapping[str, Tensor],
    condition: Condition | None = None,
    average: bool = True,
    batch_norm: str = "running",
    seed: int = 0,
) -> Tensor:
    """game(latent): the samples [N, *shape], as networks see them, of latents with parts [N, dim], in evaluation mode.

    condition    what they are asked for under, by name (`leaves`), N rows each; None: that of `sample(N)`
    batch_norm   "batch" normalises by the statistics of these N samples instead of the running ones, which stay
    With `game.dropout` dropout is on, as drawn from `seed`.  Raises ValueError for latents of another prior and
    for a condition of other rows, Mistake for a condition that is missing, or that nothing here uses.
    """
    expected = {name: part.dim for name, part in game.prior.items()}
    if {name: part.shape[1:].numel() for name, part in latent.items()} != expected:
        found = {name: list(part.shape) for name, part in latent.items()}
        raise ValueError(f"latents of this game have parts {expected} (name: dim), each [N, dim]; these are {found}")
    networks, _ = prepare_sampling_networks(game, average)
    n = len(next(iter(latent.values())))
    if condition is None:
        condition = draw_condition(game, n, Stream(game.seed, "evaluation", device=game.device))
    for name, entry in condition.items():
        if not isinstance(entry, Tensor) or entry.shape[:1] != (n,):
            found = f"of shape {list(entry.shape)}" if isinstance(entry, Tensor) else type(entry).__name__
            raise ValueError(f"condition {name} is {found}, and it is a tensor with a row for each of {n} samples")
    place = game.device
    code = {name: part.to(place) for name, part in latent.items()}
    given = {name: part.to(place) for name, part in ordered_condition(game, condition).items()}
    with _evaluating(list(networks.values()), batch_norm, seed if game.dropout else None, game.device):
        return build_sampling_turn(game, code, given, networks).side_sample(game.samples).x


@torch.no_grad()
def samples_for_judge(game: Any, n: int, stream: Stream) -> Sample:
    """n samples of the weights that play, and the condition under which D is asked of them; for `judged_alone` games.

    Networks are taken in the mode that they are in.
    """
    turn = build_sampling_turn(game, game.prior.sample(n, stream), draw_condition(game, n, stream), game.networks())
    return replace(turn, sides=game.sides).side_sample(game.samples)


def sample(
    game: Any,
    n: int,
    condition: Condition | None = None,
    stream: Stream | None = None,
    average: bool = True,
    batch_norm: str = "running",
) -> Tensor:
    """n samples in evaluation mode, of the average where there is one; [n, *shape] on the game's device.

    `stream` defaults to a fresh evaluation stream of this game's seed: the same latents at each call.  What `condition`
    leaves out is asked for as `conditions` says.  n samples and then m of one stream are the n + m drawn at once.
    """
    stream = stream or Stream(game.seed, "evaluation")
    stream.device = game.device
    if condition is None or set(condition) < set(condition_entries(game)):
        condition = draw_condition(game, n, stream, condition or UNCONDITIONAL)
    latent = game.prior.sample(n, stream)
    return generate(game, latent, condition, average, batch_norm, draw_dropout_seed(game, stream))


def draw_dropout_seed(game: Any, stream: Stream) -> int:
    """What the dropout of the next samples is drawn from; 0, undrawn, where samples have none."""
    return int(stream.child("dropout").integers(2**31 - 1, 1)) if game.dropout else 0


def reals_for_judge(game: Any, batch: Batch, stream: Stream) -> Sample:
    """Reals, and the condition under which D is asked of them; networks in the mode that they are in."""
    draws = {name: prior.sample(len(batch), stream.child(f"{LATENT}/{name}")) for name, prior in game.priors.items()}
    asked = judge_of(game)
    own = [look.sides["real"] for look in asked.adversarial_terms if "real" in look.sides]
    return game.build_turn(batch, draws, ()).side_sample(own[0] if own else asked.side_by_role.get("real", "real"))


def ordered_condition(game: Any, condition: Condition) -> Condition:
    """The condition in the order of `leaves`.  Raises Mistake where it is not what samples are made under."""
    names = condition_entries(game)
    for name in condition:
        if name not in names:
            there = f"samples are made under {', '.join(names)}" if names else "samples have no condition"
            raise Mistake(f"condition {name}: {there}.{did_you_mean(name, names)}")
    if missing := [name for name in names if name not in condition]:
        raise Mistake(f"samples are made under {', '.join(names)}, and {', '.join(missing)} is not given")
    return {name: condition[name] for name in names}


def build_sampling_turn(
    game: Any, latent: Mapping[str, Tensor], condition: Condition, networks: Mapping[str, Any]
) -> Turn:
    """A turn of nobody's, on these latents and leaves."""
    columns = {column: condition[name] for name, column in condition_columns(game).items()}
    draws: dict[str, dict[str, Tensor]] = {LATENT: dict(latent)}
    for name, (draw, part) in condition_draws(game).items():
        draws.setdefault(draw, {})[part] = condition[name]
    sides = {name: replace(side, judge=None, judge_condition={}) for name, side in game.sides.items()}
    return Turn(sides, networks, batch_from_columns(columns), draws, (), game.dependencies, images=game.images)


@contextmanager
def _evaluating(
    modules: list[nn.Module], batch_norm: str = "running", seed: int | None = None, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Evaluation mode, as it was before afterwards; with a seed, dropout on and drawn from it, on `device`."""
    every = [module for own in modules for module in own.modules()]
    drawing = nullcontext() if seed is None else preserve_random_state(device, seed)
    with in_mode(*modules), _batch_statistics(every if batch_norm == "batch" else []), drawing:
        for module in every if seed is not None else ():
            if isinstance(module, DROPOUT):
                module.training = True
        yield


@contextmanager
def _batch_statistics(modules: list[nn.Module]) -> Iterator[None]:
    """Batch norm without running statistics, which makes it use the batch's own; they are put back afterwards."""
    layers = [m for m in modules if isinstance(m, BatchNorm)]
    kept = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var = mean, variance
