"""The original of an export: everything that makes a run's samples, and the samples that every file must reproduce."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from saddlepoint.config.identity import describe_identity_differences
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game, modality_from_config, set_threads
from saddlepoint.experiment.restore import restore_checkpoint_or_snapshot
from saddlepoint.experiment.run_config import assume_checked, load_run_config
from saddlepoint.export.agreement import ROWS, original_samples
from saddlepoint.export.determinism import check_deterministic, check_no_dropout
from saddlepoint.export.frozen_virtual_batch_norm import frozen_state_dict
from saddlepoint.export.load_generator import build_network
from saddlepoint.export.sampling_module import SamplingModule, Wiring, sides_to_dict
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import (
    condition_columns,
    condition_draws,
    condition_entries,
    latent_part_names,
    upstream_sides,
)
from saddlepoint.game.sampling import (
    draw_condition,
    generate,
    ordered_condition,
    prepare_sampling_networks,
    sampling_contract,
)
from saddlepoint.game.side import LATENT
from saddlepoint.modality import Modality
from saddlepoint.run import destination
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream

ALLOWED_CHANGES = ("game.conditions", "game.classes", "game.dropout", "game.samples")  # of a game: how samples are made


@dataclass(frozen=True)
class Original:
    """The networks that make the samples of a run, inputs with the expected samples, and the export folder."""

    run: Run
    at: str  # last, best, previous, or images
    folder: Path
    game: Game
    config: DictConfig  # of the training, without overrides of the command line
    network_configs: Mapping[str, Any]  # of each network and maker, with the permissions of the command line
    modality: Modality
    average: bool
    weights: str  # averaged, raw or partly averaged
    batch_norm_reestimated: bool  # whether the batch norm statistics were estimated again for the averaged weights
    module: SamplingModule  # independent of the game; virtual batch norm is frozen
    split: str | None  # whose rows are the conditions; None if samples have no condition columns
    latent: Mapping[str, Tensor]
    condition: Mapping[str, Tensor]
    expected: Tensor

    @property
    def classes(self) -> dict[str, int]:
        """The number of classes of each condition that is a class."""
        known = self.game.conditions.classes
        entries = condition_entries(self.game)
        return {name: number for name, entry in entries.items() if (number := known.get(entry)) is not None}

    @property
    def input_specs(self) -> dict[str, dict[str, Any]]:
        """The shape and type of a row of each condition that is not a class."""
        return {name: {"shape": list(rows.shape[1:]), "dtype": str(rows.dtype).removeprefix("torch.")}
                for name, rows in self.condition.items() if name not in self.classes}  # fmt: skip

    def generator_config(self) -> dict[str, Any]:
        """Return the keys of a description that define how samples are made.

        The sides are left out if one network makes the samples from the latent.
        """
        wiring, config = self.module.wiring, self.config
        prior = _to_plain(config.prior) if self.latent else {}
        networks = {name: _to_plain(_network_config(config, self.game, name)) for name in self.network_configs}
        players = {name: node for name, node in networks.items() if name in self.game.players}
        side = wiring.sides[wiring.samples]
        if (side.of, len(side.by)) == (LATENT, 1) and not set(side.condition.items()) - {("label", "y")}:
            (node,) = players.values()
            return {"architecture": {"generator": node}, "prior": prior}
        used_draws = {draw for draw, _ in condition_draws(wiring).values()}
        optional = {
            "makers": {name: node for name, node in networks.items() if name not in players},
            "draws": {name: _to_plain(config.game.draws[name]) for name in wiring.priors if name in used_draws},
        }
        sides = {"sides": sides_to_dict(wiring.sides), "samples": wiring.samples}
        return {"architecture": players, **{key: node for key, node in optional.items() if node}, **sides,
                "prior": prior}  # fmt: skip


def build_original(
    run: Run, at: str | int, average: bool, to: str | None, overrides: Sequence[str], config_dir: str | Path | None,
    log: Callable[[str], None],
) -> Original:  # fmt: skip
    """Build the networks that make the samples of `run`, and their samples for fixed inputs.

    to         a new folder; None: a folder in the run's own
    overrides  only of keys that do not change the training, such as paths, the device and the conditions
    Raises Mistake if the folder cannot be written, if samples are not finite, or if the networks draw random numbers.
    """
    run_config, config = load_run_config(run), assume_checked(load_run_config(run, overrides, log, config_dir))
    folder = destination.check_output_folder(run.folder / "export") if to is None else _check_new_folder(Path(to))
    _check_same_training(run_config, config)
    game = build_game(config)
    restore_checkpoint_or_snapshot(game, run, at, log)
    set_threads(config, game)
    if to is None:
        folder = _check_new_folder(folder / f"{game.images:09d}")
    networks, weights = prepare_sampling_networks(game, average)
    if game.dropout:
        check_no_dropout(networks)
    network_configs = {name: _network_config(config, game, name) for name in networks}
    module = _sampling_module(game, networks, network_configs)
    stream, split = Stream(game.seed, "export"), game.conditions.split_name if condition_columns(game) else None
    n = ROWS if split is None else min(ROWS, len(game.conditions.load_dataset().split(split)))
    latents, condition = game.prior.sample(n, stream), ordered_condition(game, draw_condition(game, n, stream))
    latent = {name: latents[name] for name in latent_part_names(game)}
    check_deterministic(module.networks, module, latent, condition)
    expected = original_samples(partial(generate, game, average=average), latents, condition)
    if not expected.isfinite().all():
        raise Mistake("the generator makes values that are not finite (nan or infinite): nothing to export")
    reestimated = "reestimated" in sampling_contract(game, average, "running", 1)["batch_norm"]
    return Original(run, str(at), folder, game, run_config, network_configs, modality_from_config(config), average,
                    weights, reestimated, module, split, latent, condition, expected)  # fmt: skip


def _check_new_folder(to: Path) -> Path:
    """Return `to`.  Raises Mistake if it exists and is not an empty folder, or if it is not a folder name."""
    if to.name in ("", ".."):
        raise Mistake(f"to={to} must be the name of a new folder, such as to={to / 'generator'}")
    destination.check_output_folder(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Mistake(f"to={to}: it exists already; name another folder, or remove it")
    return to


def _check_same_training(run_config: DictConfig, config: DictConfig) -> None:
    """Raise Mistake if the overrides change the training of the run."""
    keys = [key for key in ("name", "seed", "images") if run_config[key] != config[key]]
    changes = [f"{key}: {run_config[key]} -> {config[key]}" for key in keys]
    if changes := changes + describe_identity_differences(run_config, config, ALLOWED_CHANGES):
        raise Mistake(
            f"{changes[0]}: an export cannot change how the run was trained. Leave it out; an export takes keys for "
            "where and how to measure: data.root, cache, device, evaluation.*, game.conditions, game.samples"
        )


def _network_config(config: DictConfig, game: Game, name: str) -> Any:
    """Return the config of a network or a maker."""
    return config.game.players[name].network if name in game.players else config.game.makers[name]


def _sampling_module(
    game: Game, networks: Mapping[str, nn.Module], network_configs: Mapping[str, Any]
) -> SamplingModule:
    """Build new networks with the weights of `networks`, and return them as one module."""
    wiring = Wiring(upstream_sides(game), game.samples, game.priors, game.conditions, game.images)
    wiring.input_names()  # raises Mistake if two inputs have the same name
    copies = {name: build_network(node, f"game.{'players' if name in game.players else 'makers'}.{name}")
              for name, node in network_configs.items()}  # fmt: skip
    for name, network in copies.items():
        network.load_state_dict(frozen_state_dict(networks[name]))
    return SamplingModule(wiring, copies)


def _to_plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)
