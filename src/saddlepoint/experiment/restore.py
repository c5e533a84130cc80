"""A run's game as a checkpoint or a snapshot left it, and the data that it was trained on."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from saddlepoint.config import allow_list
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game, load_data
from saddlepoint.experiment.run_config import as_checked, load_run_config
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import sampling_players
from saddlepoint.game.sampling import load_sampling_state, sampling_modules
from saddlepoint.game.state import check_state
from saddlepoint.run import data_content, snapshot
from saddlepoint.run.checkpoint import load_checkpoint as load_checkpoint
from saddlepoint.run.checkpoint import load_newest_checkpoint
from saddlepoint.run.folder import Run, read_json
from saddlepoint.run.storage.cache import Log

# an override that says which data: not how they are read, measured or labelled
DATA_OVERRIDE = re.compile(
    r"[+~]*data(=|@|\.(?!(memory|workers|extractor|batch|seed|labels|label_seed|labelled_batch)\b))"
)


def load(run: str | Path | Run, checkpoint: str = "last", allow: Sequence[str] = ()) -> Game:
    """The game of a run folder, as its last (or best) checkpoint left it, on the CPU: load(run).sample(64).

    `allow` names modules of your own that its config may build from, as allow_target does on the command line.
    """
    record = run if isinstance(run, Run) else Run(run)
    config = load_run_config(record, log=print)
    if allow:
        allow_list.grant(config, [allow] if isinstance(allow, str) else list(allow))
    game = build_game(as_checked(config))
    restore_checkpoint(game, record, checkpoint)
    return game


def restore_checkpoint(game: Game, run: Run, checkpoint: str = "last", log: Log = print) -> dict[str, Any]:
    """Put a checkpoint's weights and counters into `game`; returns the checkpoint.  See `put` for snapshots."""
    found = load_newest_checkpoint(run.checkpoints, log) if checkpoint == "last" else None
    path = run.checkpoints / f"{checkpoint}.ckpt"
    if found is None and not path.exists():
        there = ", ".join(sorted(p.stem for p in run.checkpoints.glob("*.ckpt"))) or "none"
        raise Mistake(f"{run.folder} has no {checkpoint} checkpoint; there: {there}")
    path, state = found or (path, load_checkpoint(path))
    load_checkpoint_weights(game, state, path)
    game.on_load_checkpoint(state)
    return state


def restore_checkpoint_or_snapshot(game: Game, run: Run, at: str | int, log: Log = print) -> None:
    """Put into `game` what a run was at `at`: last, best, previous, or the images of a snapshot, its generator alone.

    Raises Mistake where there is no such checkpoint or snapshot.
    """
    if not str(at).isdigit():
        restore_checkpoint(game, run, str(at), log)
        return
    path = snapshot.snapshot_path(run, int(at))
    if not path.exists():
        there = ", ".join(map(str, snapshot.snapshot_images(run))) or "none"
        raise Mistake(f"{run.folder} has no snapshot at {at} images; there: {there}")
    state, game.images, weights = snapshot.load_snapshot(path)
    networks, whose = sampling_modules(game)
    if weights != whose:
        raise Mistake(f"{path} holds {weights} weights, which the config of this run does not; take it out")
    try:
        load_sampling_state(networks, state)
    except RuntimeError as error:
        raise Mistake(f"{path} holds the weights of another network: {_second_line(error)}") from None
    averages = {name: own for name in sampling_players(game) if (own := game.player(name).average) is not None}
    game.has_only_average = bool(averages)
    for name, kept in averages.items():
        # statistics that were re-estimated when the snapshot was written are all that it holds
        if OmegaConf.select(load_run_config(run), f"game.players.{name}.average.statistics") == "reestimated":
            kept.statistics = "reestimated"
        kept.has_stale_statistics = True


def load_checkpoint_weights(game: Game, state: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's weights into `game`.  Raises Mistake where they are another network's or run's."""
    check_state(game, state["saddlepoint"])
    try:
        game.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise Mistake(f"{path} holds the weights of another network: {_second_line(error)}") from None
    game.has_only_average = False


def _second_line(error: Exception) -> str:
    """The line in which torch says which tensor does not fit."""
    return (str(error).splitlines()[1].strip() if "\n" in str(error) else str(error))[:160]


def load_run_data(run: Run, config: CheckedConfig, overrides: Sequence[str], log: Log) -> Any:
    """The data that a run was trained on, loaded as its config and `overrides` have it.

    Raises Mistake where they have changed since; where `overrides` name other data, `say` hears what differs.
    """
    data = load_data(config, log)
    if changed := data_changes(run, data):
        if not any(DATA_OVERRIDE.match(word) for word in map(str, overrides)):
            raise Mistake(
                f"{run.folder} was trained on other data than are there now: {'; '.join(changed)}. Bring those back, "
                f"say where they are (data.root=..., data.folder=...), or name these: {data_argument(config)}"
            )
        log(f"these are not the data that the run was trained on: {'; '.join(changed)}")
    return data


def data_changes(run: Run, data: Any) -> list[str]:
    """How data differ from those that a run was trained on last; [] where nothing on record does."""
    return data_content.data_differences(read_json(run.folder / "provenance.json").get("data") or {}, data.describe())


def data_argument(config: CheckedConfig) -> str:
    """The word that names the data of a config."""
    key = "folder" if "folder" in config.data else "root" if "root" in config.data else None
    return f"data={config.choice.get('data')}" if key is None else f"data.{key}={config.data[key]}"
