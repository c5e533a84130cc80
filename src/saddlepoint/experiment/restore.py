"""Loading of a run's game from a checkpoint or snapshot, and of the data that it was trained on."""

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import safetensors.torch
from omegaconf import OmegaConf
from safetensors import SafetensorError
from torch import Tensor

from saddlepoint.config import allow_list
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake, first_line
from saddlepoint.experiment.build import build_game, load_data
from saddlepoint.experiment.run_config import assume_checked, load_run_config
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import sampling_players
from saddlepoint.game.sampling import load_sampling_state, sampling_modules
from saddlepoint.game.state import check_state
from saddlepoint.modality import Tokens, modality_of
from saddlepoint.run import data_content, snapshot
from saddlepoint.run.checkpoint import load_checkpoint, load_newest_checkpoint
from saddlepoint.run.folder import Run, load_json
from saddlepoint.run.storage.cache import Log

# an override that chooses the data, not how they are read, measured or labelled
DATA_OVERRIDE = re.compile(
    r"[+~]*data(=|@|\.(?!(memory|workers|extractor|batch|seed|labels|label_seed|labelled_batch)\b))"
)


def load(run: str | Path | Run, checkpoint: str = "last", allow: Sequence[str] = ()) -> Game:
    """Load the game of a run folder from its last (or best) checkpoint, on the CPU: load(run).sample(64).

    allow  user-defined modules that the config may import, like allow_target on the command line
    """
    run_record = run if isinstance(run, Run) else Run(run)
    config = load_run_config(run_record, log=print)
    if allow:
        allow_list.allow_names(config, [allow] if isinstance(allow, str) else list(allow))
    game = build_game(assume_checked(config))
    restore_checkpoint(game, run_record, checkpoint)
    return game


def restore_checkpoint(game: Game, run: Run, checkpoint: str = "last", log: Log = print) -> dict[str, Any]:
    """Load the weights and counters of a checkpoint into `game`, and return the checkpoint."""
    newest = load_newest_checkpoint(run.checkpoints, log) if checkpoint == "last" else None
    path = run.checkpoints / f"{checkpoint}.ckpt"
    if newest is None and not path.exists():
        available = ", ".join(sorted(p.stem for p in run.checkpoints.glob("*.ckpt"))) or "none"
        raise Mistake(f"{run.folder} has no {checkpoint} checkpoint; there: {available}")
    path, state = newest or (path, load_checkpoint(path))
    load_checkpoint_weights(game, state, path)
    game.on_load_checkpoint(state)
    return state


def restore_checkpoint_or_snapshot(game: Game, run: Run, at: str | int, log: Log = print) -> None:
    """Load the checkpoint `at` (last, best, previous), or the snapshot at `at` images (generator only), into `game`.

    Raises Mistake if there is no such checkpoint or snapshot.
    """
    if not str(at).isdigit():
        restore_checkpoint(game, run, str(at), log)
        return
    path = snapshot.snapshot_path(run, int(at))
    if not path.exists():
        available = ", ".join(map(str, snapshot.snapshot_image_counts(run))) or "none"
        raise Mistake(f"{run.folder} has no snapshot at {at} images; there: {available}")
    state, game.images, weights = snapshot.load_snapshot(path)
    networks, expected = sampling_modules(game)
    if weights != expected:
        raise Mistake(f"{path} holds {weights} weights, but the run's config needs {expected} ones; move it elsewhere")
    try:
        load_sampling_state(networks, state)
    except RuntimeError as error:
        raise Mistake(f"{path} holds the weights of another network: {_mismatch_line(error)}") from None
    averages = {name: average for name in sampling_players(game) if (average := game.player(name).average) is not None}
    game.has_only_average = bool(averages)
    for name, average in averages.items():
        kept = OmegaConf.select(load_run_config(run), f"game.players.{name}.average.selected")
        if kept is not None and kept != getattr(average, "selected", kept):
            raise Mistake(f"{path} holds the average {kept} of the {name} only: for another one use at=last or at=best")
        # a snapshot holds only the statistics that were re-estimated when it was written
        if OmegaConf.select(load_run_config(run), f"game.players.{name}.average.statistics") == "reestimated":
            average.statistics = "reestimated"
        average.has_stale_statistics = True


def load_initial_weights(game: Game, start: str, average: bool, log: Log) -> dict[str, dict[str, Tensor]]:
    """Return the state of each player's network that `start`, a run folder or exported .safetensors, has: by player.

    average  take the averaged weights of players that have an average
    Raises Mistake if no player of the game is in it, or if a network differs in the names or shapes of its tensors.
    """
    is_file = start.endswith(".safetensors")
    weights = _load_exported_weights(game, start) if is_file else _load_run_weights(game, start, average, log)
    if not weights:
        raise Mistake(f"start={start}: it has no network of {', '.join(game.players)}, the players of this game.")
    for name, state in weights.items():
        expected = game.player(name).network.state_dict()
        for key in (*expected, *(key for key in state if key not in expected)):
            there, here = (list(tensors[key].shape) if key in tensors else "missing" for tensors in (state, expected))
            if there != here:
                raise Mistake(
                    f"start={start}: {name}.{key} is {there} there and {here} here. Give this run the architecture and "
                    "the layers of that network."
                )
    rest = [name for name in game.players if name not in weights]
    log(f"initial weights of {', '.join(weights)}: {start}" + (f"; {', '.join(rest)} initialised anew" if rest else ""))
    return weights


def check_symbols(source: str, data: Any) -> None:
    """Raise Mistake if tokens of `source`, a run folder or exported file, are other symbols than those of `data`."""
    path = Path(source).with_name("training.yaml") if source.endswith(".safetensors") else Run(source).config
    here = modality_of(data)
    if not isinstance(here, Tokens) or not path.is_file():
        return
    config = OmegaConf.load(path)
    if not str(config.data._target_).startswith("saddlepoint."):
        return
    there = modality_of(instantiate(config.data, "data"))
    pairs = zip_longest(getattr(there, "vocabulary", ()), here.vocabulary)
    for number, (one, other) in enumerate(pairs):
        if one != other:
            one, other = ("missing" if symbol is None else repr(symbol) for symbol in (one, other))
            raise Mistake(
                f"{source} was trained on other symbols: number {number} is {one} there and {other} here. Set "
                f"data.vocabulary and data.length as in {path}"
            )


def set_initial_weights(game: Game, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Load the result of `load_initial_weights` into the networks and their averages."""
    for name, state in weights.items():
        player = game.player(name)
        player.network.load_state_dict(state)
        if player.average is not None:
            player.average.network.load_state_dict(player.network.state_dict())


def _load_run_weights(game: Game, start: str, average: bool, log: Log) -> dict[str, dict[str, Tensor]]:
    run = Run(start)
    if not run.config.exists() or (newest := load_newest_checkpoint(run.checkpoints, log)) is None:
        raise Mistake(f"start={start}: not a run folder with a checkpoint, and not an exported .safetensors.")
    state, weights = newest[1]["state_dict"], {}
    for name in game.players:
        raw, averaged = (_below(state, f"players.{name}.{part}") for part in ("network.", "average.network."))
        chosen = averaged if average and averaged else raw
        if chosen:
            log(f"start={start}: {name}, {'averaged' if chosen is averaged else 'raw'} weights")
            weights[name] = chosen
    return weights


def _load_exported_weights(game: Game, start: str) -> dict[str, dict[str, Tensor]]:
    try:
        state = safetensors.torch.load_file(start)
    except (SafetensorError, OSError) as error:
        raise Mistake(f"start={start} cannot be read as safetensors: {first_line(error)}") from None
    names = sampling_players(game)
    if len(names) == 1:
        return {names[0]: state}
    return {name: below for name in names if (below := _below(state, f"{name}."))}


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def load_checkpoint_weights(game: Game, state: dict[str, Any], path: Path) -> None:
    """Load the weights of a checkpoint into `game`.  Raises Mistake if they belong to another network or run."""
    check_state(game, state["saddlepoint"])
    try:
        game.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise Mistake(f"{path} holds the weights of another network: {_mismatch_line(error)}") from None
    game.has_only_average = False


def _mismatch_line(error: Exception) -> str:
    """Return the line of torch's error that names the tensor that does not fit."""
    return (str(error).splitlines()[1].strip() if "\n" in str(error) else str(error))[:160]


def load_run_data(run: Run, config: CheckedConfig, overrides: Sequence[str], log: Log) -> Any:
    """Load the data of a run; `config` includes `overrides`.

    If the data have changed since the run was trained, the differences are logged if `overrides` choose the data, and
    Mistake is raised if not.
    """
    data = load_data(config, log)
    if changes := data_changes(run, data):
        if not any(DATA_OVERRIDE.match(override) for override in map(str, overrides)):
            raise Mistake(
                f"the data of {run.folder} have changed since it was trained: {'; '.join(changes)}. Restore them, give "
                f"their location (data.root=..., data.folder=...), or choose the changed data: {data_argument(config)}"
            )
        check_symbols(str(run.folder), data)
        log(f"measured on other data than the run was trained on: {'; '.join(changes)}")
    return data


def data_changes(run: Run, data: Any) -> list[str]:
    """Return the differences between `data` and the recorded data of a run's last start; [] if there are none."""
    return data_content.data_differences(load_json(run.folder / "provenance.json").get("data") or {}, data.describe())


def data_argument(config: CheckedConfig) -> str:
    """Return the override that chooses the data of a config."""
    key = "folder" if "folder" in config.data else "root" if "root" in config.data else None
    return f"data={config.choice.get('data')}" if key is None else f"data.{key}={config.data[key]}"
