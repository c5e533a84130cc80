"""What is exported: all that makes a run's samples, and what it makes of the inputs that every file is asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from saddlepoint.config.identity import identity_differences
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game, modality_from_config, set_threads
from saddlepoint.experiment.restore import restore_checkpoint_or_snapshot
from saddlepoint.experiment.run_config import as_checked, load_run_config
from saddlepoint.export.agreement import ROWS, original_samples
from saddlepoint.export.determinism import check_deterministic, check_no_dropout
from saddlepoint.export.frozen_virtual_batch_norm import frozen_state_dict
from saddlepoint.export.load_generator import build_network
from saddlepoint.export.sampling_module import SamplingModule, Wiring, sides_to_dict
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import condition_columns, condition_draws, condition_entries, latent_parts, upstream_sides
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

WHERE = ("game.conditions", "game.classes")  # what may be said of a game: under what samples are made and shown


@dataclass(frozen=True)
class Original:
    """What makes the samples of a run at a moment, what it makes of the inputs, and where its export goes."""

    run: Run
    at: str  # last, best, previous, or images
    folder: Path
    game: Game
    config: DictConfig  # of the training, without what the command line says on top
    network_configs: Mapping[
        str, Any
    ]  # of each network and maker that samples pass through, which the command line may allow
    modality: Modality
    average: bool
    weights: str  # averaged, raw or partly averaged
    batch_norm_reestimated: bool  # whether its batch norm has statistics that were measured anew
    module: SamplingModule  # apart from its game: virtual batch norm frozen
    split: str | None  # whose rows samples are made under; None where they are made under none
    latent: Mapping[str, Tensor]
    condition: Mapping[str, Tensor]
    expected: Tensor

    @property
    def classes(self) -> dict[str, int]:
        """The conditions that are a class, and how many there are."""
        known = self.game.conditions.classes
        return {
            name: number
            for name, entry in condition_entries(self.game).items()
            if (number := known.get(entry)) is not None
        }

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """The conditions that are no class: the shape and the type of a row."""
        return {name: {"shape": list(rows.shape[1:]), "dtype": str(rows.dtype).removeprefix("torch.")}
                for name, rows in self.condition.items() if name not in self.classes}  # fmt: skip

    def generator_config(self) -> dict[str, Any]:
        """Who makes samples of what, as a description has it; one network of the latent needs no sides there."""
        wiring, config = self.module.wiring, self.config
        prior = _plain(config.prior) if self.latent else {}
        networks = {name: _plain(_node(config, self.game, name)) for name in self.network_configs}
        players = {name: node for name, node in networks.items() if name in self.game.players}
        made = wiring.sides[wiring.samples]
        if (made.of, len(made.by)) == (LATENT, 1) and not set(made.condition.items()) - {("label", "y")}:
            (node,) = players.values()
            return {"architecture": {"generator": node}, "prior": prior}
        used = {draw for draw, _ in condition_draws(wiring).values()}
        rest = {
            "makers": {name: node for name, node in networks.items() if name not in players},
            "draws": {name: _plain(config.game.draws[name]) for name in wiring.priors if name in used},
        }
        sides = {"sides": sides_to_dict(wiring.sides), "samples": wiring.samples}
        return {"architecture": players, **{key: own for key, own in rest.items() if own}, **sides, "prior": prior}


def build_original(
    run: Run, at: str | int, average: bool, to: str | None, overrides: Sequence[str], config_dir: str | Path | None,
    log: Callable[[str], None],
) -> Original:  # fmt: skip
    """Build what makes the samples of `run`; `overrides` say where and how, never another training.

    to  a new folder; None: in the run's own
    Raises Mistake where it cannot be written there, and where samples are not finite or have noise that is no input.
    """
    own, config = load_run_config(run), as_checked(load_run_config(run, overrides, log, config_dir))
    place = destination.check_output_folder(run.folder / "export") if to is None else _new_folder(Path(to))
    _refuse_other_training(own, config)
    game = build_game(config)
    restore_checkpoint_or_snapshot(game, run, at, log)
    set_threads(config, game)
    place = _new_folder(place / f"{game.images:09d}") if to is None else place
    networks, weights = prepare_sampling_networks(game, average)
    if game.dropout:
        check_no_dropout(networks)
    nodes = {name: _node(config, game, name) for name in networks}
    alone = _alone(game, networks, nodes)
    stream, split = Stream(game.seed, "export"), game.conditions.split if condition_columns(game) else None
    n = ROWS if split is None else min(ROWS, len(game.conditions.dataset().split(split)))
    latents, condition = game.prior.sample(n, stream), ordered_condition(game, draw_condition(game, n, stream))
    latent = {name: latents[name] for name in latent_parts(game)}
    check_deterministic(alone.networks, alone, latent, condition)
    expected = original_samples(partial(generate, game, average=average), latents, condition)
    if not expected.isfinite().all():
        raise Mistake("the generator makes values that are not finite (nan or infinite): nothing to export")
    reestimated = "reestimated" in sampling_contract(game, average, "running", 1)["batch_norm"]
    return Original(run, str(at), place, game, own, nodes, modality_from_config(config), average, weights, reestimated, alone,
                    split, latent, condition, expected)  # fmt: skip


def _new_folder(to: Path) -> Path:
    """`to` itself.  Raises Mistake where something lies there, or where it is no name for a new folder."""
    if to.name in ("", ".."):
        raise Mistake(f"to={to}: a folder appears there at the end, whole, so it needs a name: to={to / 'generator'}")
    destination.check_output_folder(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Mistake(f"to={to}: something lies there already; name another folder, or take it away")
    return to


def _refuse_other_training(own: DictConfig, config: DictConfig) -> None:
    """Raises Mistake where the words on top of a run's own config tell of a training that did not happen."""
    told = [f"{key}: {own[key]} -> {config[key]}" for key in ("name", "seed", "images") if own[key] != config[key]]
    if changed := told + identity_differences(own, config, WHERE):
        raise Mistake(
            f"{changed[0]}: an export tells of the training that was, and this would be another. Leave it out; what "
            "may be said is where and how to measure: data.root, cache, device, evaluation.*, game.conditions"
        )


def _node(config: DictConfig, game: Game, name: str) -> Any:
    """The config of a network or a maker."""
    return config.game.players[name].network if name in game.players else config.game.makers[name]


def _alone(game: Game, networks: Mapping[str, nn.Module], nodes: Mapping[str, Any]) -> SamplingModule:
    """What makes samples, built anew, with the weights of `networks`."""
    wiring = Wiring(upstream_sides(game), game.samples, game.priors, game.conditions, game.images)
    wiring.inputs()  # raises where two have one name
    fresh = {name: build_network(node, f"game.{'players' if name in game.players else 'makers'}.{name}")
             for name, node in nodes.items()}  # fmt: skip
    for name, network in fresh.items():
        network.load_state_dict(frozen_state_dict(networks[name]))
    return SamplingModule(wiring, fresh)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)
