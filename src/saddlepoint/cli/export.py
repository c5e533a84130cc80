"""saddlepoint export: a run's generator as files that others can run, each held against it, and a model card."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor, nn

from saddlepoint.callback.evaluation import drawn_as
from saddlepoint.cli import unread
from saddlepoint.cli.memorisation import memorisation
from saddlepoint.config import allow_list
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import differences
from saddlepoint.config.training_keys import leaves as leaves_of
from saddlepoint.console.output import Output
from saddlepoint.console.terminal import speaker
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.build import config_of, game_of, modality_of, put, set_threads
from saddlepoint.export import hub, onnx, program, safetensors
from saddlepoint.export.agreement import ROWS, TOLERANCE, difference, originals, sizes
from saddlepoint.export.card import PICTURE, page
from saddlepoint.export.card_facts import Moment, account
from saddlepoint.export.description import CONDITIONS as DEFAULT
from saddlepoint.export.exported import bare
from saddlepoint.export.frozen import FrozenVirtualBatchNorm, frozen_state
from saddlepoint.export.generator import positional
from saddlepoint.export.noise import refuse_dropout, refuse_noise
from saddlepoint.export.whole import Whole, Wiring, without_judges
from saddlepoint.game.game import Game
from saddlepoint.game.hooks import having
from saddlepoint.game.lineage import latent_parts, leaves, upstream
from saddlepoint.game.sampling import class_rows, complete, conditions, samples_of, sampling_networks, sampling_state
from saddlepoint.game.side import LATENT
from saddlepoint.modality import Modality, bounded
from saddlepoint.redaction import discreet
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, unwritable, write
from saddlepoint.run.provenance import CHECKOUT, now
from saddlepoint.run.repository import commit
from saddlepoint.run.storage import atomic
from saddlepoint.stream import Stream

FILES = {"safetensors": safetensors.FILE, "onnx": onnx.FILE, "program": program.FILE}
PACKAGES = (
    "saddlepoint",
    "torch",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnxruntime",
)  # what wrote and checked the files
WHERE = ("game.conditions", "game.classes")  # what may be said of a game: under what samples are made and shown
OURS = ("outputs", "cache", "logger", "launcher", "overwrite", "device", "devices", "threads")  # of this machine


@dataclass(frozen=True)
class Original:
    """What makes the samples of a run, and what it makes of the inputs that every file is asked."""

    game: Game
    config: DictConfig  # of the training, without what the command line says on top
    nodes: Mapping[str, Any]  # of each network and maker that samples pass through, which the command line may allow
    modality: Modality
    average: bool
    weights: str  # averaged, raw or partly averaged
    reestimated: bool  # whether its batch norm has statistics that were measured anew
    alone: Whole  # apart from its game: virtual batch norm frozen
    latent: Mapping[str, Tensor]
    condition: Mapping[str, Tensor]
    expected: Tensor

    @property
    def names(self) -> list[str]:
        """Of the inputs, in their order."""
        return self.alone.wiring.inputs()


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door: 1 where a format was not written."""
    unread.refuse("export", rest)
    _, failed = export(config, rest, config_dir)
    return 1 if failed else 0


def export(
    words: DictConfig, rest: Sequence[str] = (), config_dir: str | Path | None = None, console: Console | None = None
) -> tuple[Path, dict[str, str]]:
    """The folder that was written, and the formats that were not, with the reason of each.

    `rest` overrides the run's own config.  Raises Mistake where nothing could be written.
    """
    console = console or Console(stderr=True)
    say = speaker(console)
    _sensible(words)
    run = Run(words.run)
    if words.to is not None:
        _place(Path(words.to))
    own, config = config_of(run), config_of(run, rest, say, config_dir)
    if words.to is None:
        destination.folder(run.folder / "export")
    _same_training(own, config)
    game = game_of(config)
    put(game, run, words.at, say)
    set_threads(config, game)
    to = _place(Path(words.to) if words.to is not None else run.folder / "export" / f"{game.images:09d}")
    original = _original(game, own, config, words.average)
    if words.memorisation:
        _measured(words, rest, config_dir, console)
    with _whole(to) as folder:
        found, failed = _formats(original, list(words.formats), folder)
        if not found:
            raise Mistake("nothing was written: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
        _described(original, words, folder)
        facts = _facts(run, original, words, found, failed)
        write(folder / "card.json", json.dumps(facts, indent=2) + "\n")
        write(folder / "README.md", page(facts))
    for name, own in found.items():
        far = f"{own['difference']:.2g} on {len(original.expected):,} samples"
        say(f"{name}: {to / own['file']}, largest difference {far}")
    for name, why in failed.items():
        say(f"{name}: NOT written: {why}")
    say(f"{run.folder}, {game.images:,} images: {to} (README.md is its model card)")
    if words.hub is not None:
        _pushed(to, words.hub, failed, say)
    return to, failed


# -------------------------------------------------------------------------------------------------------- the original


def _same_training(own: DictConfig, config: DictConfig) -> None:
    """Raises Mistake where the words on top of a run's own config tell of a training that did not happen."""
    told = [f"{key}: {own[key]} -> {config[key]}" for key in ("name", "seed", "images") if own[key] != config[key]]
    if changed := told + differences(own, config, WHERE):
        raise Mistake(
            f"{changed[0]}: an export tells of the training that was, and this would be another. Leave it out; what "
            "may be said is where and how to measure: data.root, cache, device, evaluation.*, game.conditions"
        )


def _original(game: Game, own: DictConfig, config: DictConfig, average: bool) -> Original:
    """Raises Mistake where samples have noise that is no input, or are not finite."""
    networks, weights = sampling_networks(game, average)
    if game.dropout:
        refuse_dropout(networks)
    nodes = {name: _node(config, game, name) for name in networks}
    alone = _alone(game, networks, nodes)
    n = _rows(game)
    stream = Stream(game.seed, "export")
    latents, condition = game.prior.sample(n, stream), complete(game, conditions(game, n, stream))
    latent = {name: latents[name] for name in latent_parts(game)}
    refuse_noise(alone.networks, alone, latent, condition)
    expected = originals(partial(samples_of, game, average=average), latents, condition)
    if not expected.isfinite().all():
        raise Mistake("the generator makes values that are not finite (nan or infinite): nothing to export")
    reestimated = "reestimated" in drawn_as(game, average, "running", 1)["batch_norm"]
    return Original(
        game, own, nodes, modality_of(config), average, weights, reestimated, alone, latent, condition, expected
    )


def _node(config: DictConfig, game: Game, name: str) -> Any:
    """The config of a network or a maker."""
    return config.game.players[name].network if name in game.players else config.game.makers[name]


def _rows(game: Game) -> int:
    """How many samples every file is asked for: 1,000, or as many rows as the split has that conditions are of."""
    columns = [entry for entry in leaves(game).values() if "." not in entry]
    split = game.conditions.split if columns else None
    return ROWS if split is None else min(ROWS, game.conditions.rows(split))


def _alone(game: Game, networks: Mapping[str, nn.Module], nodes: Mapping[str, Any]) -> Whole:
    """What makes samples, built anew, with the weights of `networks`."""
    wiring = Wiring(upstream(game), game.samples, game.priors, game.conditions, game.images)
    wiring.inputs()  # raises where two have one name
    fresh = {name: bare(node, f"game.{'players' if name in game.players else 'makers'}.{name}")
             for name, node in nodes.items()}  # fmt: skip
    for name, network in fresh.items():
        network.load_state_dict(frozen_state(networks[name]))
    return Whole(wiring, fresh)


# ---------------------------------------------------------------------------------------------------------- the files


def _formats(original: Original, names: Sequence[str], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What was written by name, each file held against the original; and what was not, with the reason."""
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    traced: Any = None
    for name in names:
        path = folder / FILES[name]
        try:
            if name != "safetensors" and traced is None:
                traced = program.program(original.alone, original.latent, original.condition)
            far = _written(name, original, traced, path)
            if far > TOLERANCE:
                raise Mistake(f"it differs from the original by {far:.3g}, and {TOLERANCE:g} is the most")
            content = path.read_bytes()
            told = {"file": path.name, "bytes": len(content), "sha256": sha256(content).hexdigest()}
            found[name] = {**told, "difference": far}
        except Mistake as mistake:
            path.unlink(missing_ok=True)
            failed[name] = str(mistake)
    remedy = f"; formats=[{','.join(found)}] can" if found else ""
    return found, {name: f"{why}{remedy}" for name, why in failed.items()}


def _written(name: str, original: Original, traced: Any, path: Path) -> float:
    """Write one format and read it back: its largest difference from the original."""
    if name == "safetensors":
        safetensors.write(sampling_state(dict(original.alone.networks.items())), path)
        network: Any = _read_back(original, path)
    elif name == "program":
        program.write(traced, path)
        network = positional(program.read(path))
    else:
        onnx.write(traced, path, original.names)
        network = positional(onnx.read(path))
    return difference(network, original.latent, original.condition, original.expected)


def _read_back(original: Original, path: Path) -> Whole:
    networks = {name: bare(node, name) for name, node in original.nodes.items()}
    safetensors.fill(networks, path)
    return Whole(original.alone.wiring, networks)


def _described(original: Original, words: DictConfig, folder: Path) -> None:
    """The description beside the files, the picture, and the config of the training."""
    config = original.config
    made = {
        **_made_by(original),
        "data": {"name": config.choice.get("data"), "shape": list(config.data.shape), "classes": config.data.classes},
        "classes": _classes(original) or None,
        **_conditioned(original),
        "range": [-1, 1] if original.modality.bounded else None,
        **_modality(original),
        "call": "mapping",
        "weights": original.weights,
        **({"batch_norm": "reestimated"} if original.reestimated else {}),
        **({"images": original.game.images} if having(original.alone, "at_images") else {}),
        "seed": int(config.seed),
        "licence": words.licence,
    }
    write(
        folder / "config.yaml",
        f"# the generator of {config.name}, seed {config.seed}: saddlepoint.exported(<this folder>) builds it\n"
        + yaml.safe_dump(made, sort_keys=False, allow_unicode=True),
    )
    training = OmegaConf.to_container(config, resolve=False)
    assert isinstance(training, dict)
    kept = {key: value for key, value in training.items() if key not in OURS}
    kept["data"] = {key: value for key, value in kept["data"].items() if key != "root"}
    write(folder / "training.yaml", yaml.safe_dump(discreet(kept), sort_keys=False, allow_unicode=True))
    game = original.game
    modality = original.modality
    x = game.sample(*class_rows(game, modality, 8, 8), Stream(game.seed, "grid"), original.average)
    modality.picture(x).save(folder / PICTURE)


def _made_by(original: Original) -> dict[str, Any]:
    """Who makes samples of what, as a description has it; one network of the latent needs no sides there."""
    wiring, config = original.alone.wiring, original.config
    prior = _plain(config.prior) if original.latent else {}
    players = {name: _plain(_node(config, original.game, name))
               for name in original.nodes if name in original.game.players}  # fmt: skip
    made = wiring.sides[wiring.samples]
    if (made.of, len(made.by)) == (LATENT, 1) and not set(made.condition.items()) - {("label", "y")}:
        (node,) = players.values()
        return {"architecture": {"generator": node}, "prior": prior}
    draws = {entry.partition(".")[0] for entry in leaves(wiring).values() if "." in entry}
    makers = {name: _plain(_node(config, original.game, name)) for name in original.nodes if name not in players}
    rest = {
        "makers": makers,
        "draws": {name: _plain(config.game.draws[name]) for name in wiring.priors if name in draws},
    }
    sides = {"sides": without_judges(wiring.sides), "samples": wiring.samples}
    return {"architecture": players, **{key: own for key, own in rest.items() if own}, **sides, "prior": prior}


def _classes(original: Original) -> dict[str, int]:
    """The conditions that are a class, and how many there are."""
    known = original.game.conditions.classes
    return {name: number for name, entry in leaves(original.game).items() if (number := known.get(entry)) is not None}


def _conditioned(original: Original) -> dict[str, Any]:
    """The conditions that are no class, and where they come from, as a description has it."""
    classes, names = _classes(original), leaves(original.game)
    inputs = {name: {"shape": list(rows.shape[1:]), "dtype": str(rows.dtype).removeprefix("torch.")}
              for name, rows in original.condition.items() if name not in classes}  # fmt: skip
    columns = any("." not in entry for entry in names.values())
    where = original.game.conditions.where
    asked = {"inputs": inputs} if inputs else {}
    return asked | ({"conditions": where} if columns and where != DEFAULT else {})


def _modality(original: Original) -> dict[str, Any]:
    """The modality, where the shape of a sample implies other bounds."""
    implied = bounded(original.config.data.shape)
    return {} if implied in (None, original.modality.bounded) else {"modality": original.modality.name}


def _facts(run: Run, original: Original, words: DictConfig, found: Any, failed: Any) -> dict[str, Any]:
    """What the card says."""
    game, config = original.game, original.config
    told = account(run, config, Moment(str(words.at), game.images, original.weights))
    modality = original.modality
    made_by = _made_by(original)
    targets = [str(value) for key, value in leaves_of(made_by) if key.rpartition(".")[2] == "_target_"]
    own = [name.rpartition(".")[0] for name in targets if name.partition(".")[0] not in allow_list.ROOTS]
    classes = _classes(original)
    inputs = _conditioned(original).get("inputs", {})
    layers = list(original.alone.modules())
    made = {
        "shape": list(config.data.shape),
        "modality": modality.name,
        "samples": modality.plural,
        "values": modality.values,
        "conditions": {name: {"classes": classes[name]} if name in classes else inputs[name] for name in leaves(game)},
        "draws": [name for name, entry in leaves(game).items() if "." in entry],
        "networks": list(original.nodes),
        "allow": list(dict.fromkeys(own)),
        "parameters": sum(p.numel() for p in original.alone.parameters()),
        "latent": {name: list(part.shape[1:]) for name, part in original.latent.items()},
        "distribution": _distributions(made_by),
        "virtual_batch_norm": any(isinstance(m, FrozenVirtualBatchNorm) for m in layers),
        "batch_norm": any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in layers),
    }
    git = commit(CHECKOUT) if (CHECKOUT / "pyproject.toml").exists() else None
    exported = {"on": now(), "git": git, "packages": {name: importlib.metadata.version(name) for name in PACKAGES}}
    n = len(original.expected)
    split = original.game.conditions.split if any("." not in entry for entry in leaves(game).values()) else None
    checked = {"rows": n, "split": split, "sizes": sizes(n), "tolerance": TOLERANCE}
    return discreet({"format": 2, **told, "generator": made, "formats": found, "failed": failed, "checked": checked,
                     "licence": words.licence, "exported": exported})  # fmt: skip


def _distributions(made_by: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each part of the latent, and of each part of a draw: the name of its class, and its ends."""
    parts = {name: node for name, node in made_by["prior"].items() if name != "_target_"}
    return {name: {"name": str(node["_target_"]).rpartition(".")[2].lower()}
            | {end: node[end] for end in ("low", "high") if end in node} for name, node in parts.items()}  # fmt: skip


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)


# --------------------------------------------------------------------------------------------------- words and places


def _sensible(words: DictConfig) -> None:
    """Raises Mistake for words that make no sense, before anything is built."""
    formats = words.formats if OmegaConf.is_list(words.formats) else [words.formats]
    for name in map(str, formats):
        if name not in FILES:
            raise Mistake(f"formats={name}: there is no such format.{did_you_mean(name, FILES)} "
                          f"There are: {', '.join(FILES)}")  # fmt: skip
    if not formats:
        raise Mistake(f"formats=[]: name one at least of {', '.join(FILES)}")
    words.formats = list(dict.fromkeys(map(str, formats)))
    if words.hub is not None:
        hub.named(str(words.hub))
        hub.library()


def _place(to: Path) -> Path:
    """`to` itself.  Raises Mistake where something lies there, or where it is no name for a new folder."""
    if to.name in ("", ".."):
        raise Mistake(f"to={to}: a folder appears there at the end, whole, so it needs a name: to={to / 'generator'}")
    destination.folder(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Mistake(f"to={to}: something lies there already; name another folder, or take it away")
    return to


@contextmanager
def _whole(to: Path) -> Iterator[Path]:
    """A folder beside `to` that becomes it at the end, or is gone."""
    try:
        with atomic.folder(to) as folder:
            yield folder
    except OSError as error:
        raise unwritable(to, error, key="to") from None


def _measured(words: DictConfig, rest: Sequence[str], config_dir: Any, console: Console) -> None:
    """Have memorisation measured now; what keeps it from being is said, and is no reason not to export."""
    asked = [f"run={words.run}", f"at={words.at}", f"average={str(words.average).lower()}"]
    try:
        memorisation(compose(asked, command="memorisation"), rest, config_dir, console, Output(console=console))
    except Mistake as mistake:
        speaker(console)(f"memorisation is not measured: {mistake}")


def _pushed(to: Path, name: str, failed: Mapping[str, str], say: Any) -> None:
    if failed:
        raise Mistake(f"not pushed: {', '.join(failed)} could not be written. What could lies in {to}")
    try:
        say(f"pushed: {hub.push(to, name)}")
    except Mistake as mistake:
        raise Mistake(f"{mistake}. The export lies in {to}") from None
