"""Samples of a game: from the averaged networks, in evaluation mode, with streams that training does not use.

The side `game.samples` is made as in a turn, from latents and condition entries (`game.lineage`).
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
    class_condition_name,
    condition_columns,
    condition_draws,
    condition_entries,
    generator_player,
    judge_player,
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
STATISTICS_PASSES, STATISTICS_ROWS = 16, 256  # forward passes that re-estimate batch-norm statistics, and their rows


def draw_condition(game: Any, n: int, stream: Stream, given: Condition = UNCONDITIONAL) -> Condition:
    """Return the condition of n samples, name -> [n, ...]: columns from `game.conditions`, and named draws.

    Entries in `given` are kept, but named draws are drawn anyway. Raises Mistake if columns are needed and
    `game.conditions` has no source.
    """
    if not condition_entries(game):
        return {**given}
    needed = {name: entry for name, entry in condition_columns(game).items() if name not in given}
    columns = game.conditions.draw_columns(needed, n, stream)
    return {**columns, **draw_random_conditions(game, n, lambda draw: stream.child(f"{LATENT}/{draw}")), **given}


def draw_random_conditions(game: Any, n: int, stream_of: Callable[[str], Stream]) -> dict[str, Tensor]:
    """Return n rows of each condition that is part of a named draw, such as a mask; `stream_of(draw)` is its stream."""
    if not (parts := condition_draws(game)):
        return {}
    names = dict.fromkeys(draw for draw, _ in parts.values())
    draws = {draw: game.priors[draw].sample(n, stream_of(draw)) for draw in names}
    return {name: draws[draw][part_name] for name, (draw, part_name) in parts.items()}


def prepare_sampling_networks(game: Any, average: bool = True) -> tuple[dict[str, nn.Module], str]:
    """Return the result of `sampling_modules`, after `at_images` hooks and re-estimation of batch-norm statistics.

    Raises Mistake if the weights are not available.
    """
    networks, weights = sampling_modules(game, average)
    if not average and game.has_only_average:
        raise Mistake("snapshots hold averaged weights only: for average=false, use a checkpoint")
    for network in networks.values():
        for module in modules_with_hook(network, "at_images"):
            module.at_images(game.images)
    for name in sampling_players_in_order(game) if average else ():
        ema = game.players[name].average
        if ema is not None and ema.statistics == "reestimated" and ema.has_stale_statistics:
            stream = Stream(game.seed, "statistics", device=game.device, joint=True)
            with _evaluation_mode(list(networks.values())):
                ema.reestimate_statistics(
                    draw_network_inputs(game, name, STATISTICS_ROWS, stream, networks) for _ in range(STATISTICS_PASSES)
                )
    return networks, weights


def sampling_modules(game: Any, average: bool = True) -> tuple[dict[str, nn.Module], str]:
    """Return the networks (or averages) and makers that samples pass through, by name, and the kind of their weights.

    The kind is "averaged", "raw", or "partly averaged" if only some of the players have an average.
    """
    names = sampling_players(game) or [generator_player(game)]  # generator_of raises
    networks, averaged = {}, set()
    for name in names:
        player = game.players[name]
        ema = player.average if average else None
        networks[name] = player.network if ema is None else ema.network
        averaged.add(ema is not None)
    for side in upstream_sides(game).values() if game.makers else ():
        for name in side.by:
            if name in game.makers:
                networks[name] = game.makers[name]
    first = game.players[names[0]].average
    weights = "partly averaged" if len(averaged) > 1 else "averaged" if average and first is not None else "raw"
    return networks, weights


def sampling_contract(game: Any, average: bool, batch_norm: str, batch: int) -> dict[str, Any]:
    """Return the contract fields `weights`, `batch_norm` and `dropout` of samples in batches of `batch`.

    Also `inputs`, the split whose rows samples are computed from, if there is one.
    """
    networks, weights = sampling_modules(game, average)
    layers = [module for network in networks.values() for module in network.modules() if isinstance(module, BatchNorm)]
    batch_field = f"batch of {batch}"  # samples depend on the others in their batch
    if batch_norm == "batch":
        statistics = [batch_field]
    else:
        averages = [game.player(name).average for name in sampling_players(game)] if average else []
        reestimated = any(ema.statistics == "reestimated" for ema in averages if ema is not None) and bool(layers)
        dependent = any(map(is_batch_dependent, networks.values()))
        statistics = ["reestimated" if reestimated else "running", *([batch_field] if dependent else [])]
    fields = {"weights": weights, "batch_norm": ", ".join(statistics), "dropout": game.dropout}
    return fields | ({"inputs": split} if (split := game.conditions.split_name) and condition_columns(game) else {})


def is_batch_dependent(network: nn.Module) -> bool:
    """Whether, even in evaluation mode, the output of `network` for a sample depends on the rest of the batch.

    True with a `coupled` layer, such as minibatch discrimination, and with batch norm without running statistics.
    """
    for module in network.modules():
        if getattr(module, "coupled", False) or (isinstance(module, BatchNorm) and module.running_mean is None):
            return True
    return False


def full_batch_indices(n: int, size: int) -> list[Tensor]:
    """Split rows 0 to n - 1 into batches of `size`: int64 [size] each. If n < size, return one batch of n.

    The output of an `is_batch_dependent` discriminator depends on the batch size, so it is evaluated with full batches
    of its training size. The last batch is filled up with the first rows; drop all outputs after the n-th.
    """
    return list(torch.arange(n if n < size else -(-n // size) * size).remainder(n).split(size))


def sampling_state(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the state of `networks`: without prefix if only one has any, otherwise each under its name."""
    stateful = [network.state_dict() for network in networks.values() if network.state_dict()]
    return stateful[0] if len(stateful) == 1 else nn.ModuleDict(dict(networks)).state_dict()


def load_sampling_state(networks: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> None:
    """Load the result of `sampling_state`. Raises RuntimeError if it belongs to other networks."""
    stateful = [network for network in networks.values() if network.state_dict()]
    (stateful[0] if len(stateful) == 1 else nn.ModuleDict(dict(networks))).load_state_dict(dict(state))


def draw_network_inputs(
    game: Any, name: str, n: int, stream: Stream, networks: Mapping[str, Any] | None = None
) -> tuple[Any, Condition]:
    """Return the inputs of a network that makes samples when n of them are drawn: x and its condition."""
    latent = game.prior.sample(n, stream)
    condition = draw_condition(game, n, stream)
    turn = build_sampling_turn(game, latent, condition, {**game.networks(), **(networks or {})})
    side = next(side for side in upstream_sides(game).values() if name in side.by)
    return turn.maker_inputs(side, name)


def class_grid_labels(game: Any, modality: Modality, rows: int, columns: int) -> tuple[int, Condition]:
    """Return how many samples a picture shows, and their labels: one class per row.

    Up to twice as many rows as requested are used if that shows every class. There are no labels if samples are not
    conditioned on classes alone, or if a picture has no rows (points).
    """
    name, size = class_condition_name(game), game.conditions.classes.get("y")
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
    """game(latent): return the samples [N, *shape] of latents with parts [N, dim], in evaluation mode.

    condition    by name (`condition_entries`), N rows each; None: that of `sample(N)`
    batch_norm   "batch" normalises by the statistics of these N samples; the running statistics do not change
    With `game.dropout`, dropout is active and drawn from `seed`. Raises ValueError for latents of another prior and for
    conditions with another number of rows, Mistake for missing or unknown conditions.
    """
    expected = {name: prior.dim for name, prior in game.prior.items()}
    if {name: z.shape[1:].numel() for name, z in latent.items()} != expected:
        shapes = {name: list(z.shape) for name, z in latent.items()}
        raise ValueError(f"latents of this game have parts {expected} (name: dim), each [N, dim]; these are {shapes}")
    networks, _ = prepare_sampling_networks(game, average)
    n = len(next(iter(latent.values())))
    if condition is None:
        condition = draw_condition(game, n, Stream(game.seed, "evaluation", device=game.device))
    for name, entry in condition.items():
        if not isinstance(entry, Tensor) or entry.shape[:1] != (n,):
            actual = f"has shape {list(entry.shape)}" if isinstance(entry, Tensor) else f"is {type(entry).__name__}"
            raise ValueError(f"condition {name} {actual}: it must be a tensor with a row for each of {n} samples")
    device = game.device
    latent = {name: z.to(device) for name, z in latent.items()}
    condition = {name: entry.to(device) for name, entry in ordered_condition(game, condition).items()}
    with _evaluation_mode(list(networks.values()), batch_norm, seed if game.dropout else None, device):
        return build_sampling_turn(game, latent, condition, networks).side_sample(game.samples).x


@torch.no_grad()
def samples_for_judge(game: Any, n: int, stream: Stream) -> Sample:
    """Return n samples of the live weights, ready to be judged; for games with `can_judge_samples`.

    Networks are used in their current mode.
    """
    latent, condition = game.prior.sample(n, stream), draw_condition(game, n, stream)
    turn = build_sampling_turn(game, latent, condition, game.networks())
    return replace(turn, sides=game.sides).side_sample(game.samples)


def sample(
    game: Any,
    n: int,
    condition: Condition | None = None,
    stream: Stream | None = None,
    average: bool = True,
    batch_norm: str = "running",
) -> Tensor:
    """Draw n samples in evaluation mode, from the average if there is one; [n, *shape] on the device of the game.

    `stream` defaults to a new evaluation stream with the seed of the game, so every call has the same latents. Missing
    entries of `condition` are drawn by `draw_condition`. Drawing n and then m samples equals drawing n + m at once.
    """
    stream = stream or Stream(game.seed, "evaluation")
    stream.device = game.device
    if condition is None or set(condition) < set(condition_entries(game)):
        condition = draw_condition(game, n, stream, condition or UNCONDITIONAL)
    latent = game.prior.sample(n, stream)
    return generate(game, latent, condition, average, batch_norm, draw_dropout_seed(game, stream))


def draw_dropout_seed(game: Any, stream: Stream) -> int:
    """Draw the seed for dropout in the next samples; 0, without a draw, if samples have no dropout."""
    return int(stream.child("dropout").integers(2**31 - 1, 1)) if game.dropout else 0


def reals_for_judge(game: Any, batch: Batch, stream: Stream) -> Sample:
    """Return the reals of a batch, ready to be judged. Networks are used in their current mode."""
    draws = {name: prior.sample(len(batch), stream.child(f"{LATENT}/{name}")) for name, prior in game.priors.items()}
    judge = judge_player(game)
    sides = [term.sides["real"] for term in judge.adversarial_terms if "real" in term.sides]
    return game.build_turn(batch, draws, ()).side_sample(sides[0] if sides else judge.side_by_role.get("real", "real"))


def ordered_condition(game: Any, condition: Condition) -> Condition:
    """Return the condition in the order of `condition_entries`. Raises Mistake if one is missing or unknown."""
    names = condition_entries(game)
    for name in condition:
        if name not in names:
            known = f"samples have the conditions {', '.join(names)}" if names else "samples have no condition"
            raise Mistake(f"condition {name}: {known}.{did_you_mean(name, names)}")
    if missing := [name for name in names if name not in condition]:
        raise Mistake(f"samples need the conditions {', '.join(names)}: {', '.join(missing)} is missing")
    return {name: condition[name] for name in names}


def build_sampling_turn(
    game: Any, latent: Mapping[str, Tensor], condition: Condition, networks: Mapping[str, Any]
) -> Turn:
    """Return a turn without movers or judges, on these latents and conditions."""
    columns = {column: condition[name] for name, column in condition_columns(game).items()}
    draws: dict[str, dict[str, Tensor]] = {LATENT: dict(latent)}
    for name, (draw, part_name) in condition_draws(game).items():
        draws.setdefault(draw, {})[part_name] = condition[name]
    sides = {name: replace(side, judge=None, judge_condition={}) for name, side in game.sides.items()}
    return Turn(sides, networks, batch_from_columns(columns), draws, (), game.dependencies, images=game.images)


@contextmanager
def _evaluation_mode(
    networks: list[nn.Module], batch_norm: str = "running", seed: int | None = None, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Evaluation mode, restored on exit. If `seed` is given, dropout is active and drawn from it, on `device`."""
    modules = [module for network in networks for module in network.modules()]
    seeded = nullcontext() if seed is None else preserve_random_state(device, seed)
    batch_statistics = _use_batch_statistics(modules) if batch_norm == "batch" else nullcontext()
    with in_mode(*networks), batch_statistics, seeded:
        for module in modules if seed is not None else ():
            if isinstance(module, DROPOUT):
                module.training = True
        yield


@contextmanager
def _use_batch_statistics(modules: list[nn.Module]) -> Iterator[None]:
    """Remove running statistics, so that batch norm uses those of the batch; they are restored on exit."""
    layers = [m for m in modules if isinstance(m, BatchNorm)]
    statistics = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, statistics, strict=True):
            layer.running_mean, layer.running_var = mean, variance
