"""saddlepoint export: a run's generator as files that others can run, each held against it, and a model card."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor, nn

from saddlepoint.callback.evaluation import drawn_as
from saddlepoint.command import destination, unread
from saddlepoint.command.account import Moment, account
from saddlepoint.command.build import config_of, game_of, modality_of, put, set_threads
from saddlepoint.command.catalogue import did_you_mean
from saddlepoint.command.compose import compose
from saddlepoint.command.exported import bare, by_name
from saddlepoint.command.identity import differences
from saddlepoint.command.memorisation import memorisation
from saddlepoint.command.output import Output
from saddlepoint.command.terminal import speaker
from saddlepoint.error import Mistake
from saddlepoint.export import hub, onnx, program, safetensors
from saddlepoint.export.agreement import LATENTS, SIZES, TOLERANCE, difference, originals
from saddlepoint.export.card import PICTURE, page
from saddlepoint.export.frozen import FrozenVirtualBatchNorm, frozen_state
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import conditions, sampled, sampling_networks
from saddlepoint.record.discretion import discreet
from saddlepoint.record.provenance import CHECKOUT, now
from saddlepoint.record.repository import commit
from saddlepoint.record.run import Run, unwritable, write
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
OURS = ("outputs", "cache", "logger", "launcher", "overwrite", "device", "devices", "threads")  # of this machine


@dataclass(frozen=True)
class Original:
    """The generator of a run, and what it makes of the latents that every file is asked."""

    game: Game
    config: DictConfig  # of the training, without what the command line says on top
    node: Any  # of the generator, which the command line may allow
    weights: str  # averaged or raw
    reestimated: bool  # whether its batch norm has statistics that were measured anew
    network: nn.Module  # as samples are drawn from it, in evaluation mode
    alone: nn.Module  # the same without its game: virtual batch norm frozen
    latent: Mapping[str, Tensor]
    y: Tensor | None
    expected: Tensor


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
    original = _original(game, own, network_node(config, game), words.average)
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
        say(f"{name}: {to / own['file']}, largest difference {own['difference']:.2g} on {LATENTS:,} latents")
    for name, why in failed.items():
        say(f"{name}: NOT written: {why}")
    say(f"{run.folder}, {game.images:,} images: {to} (README.md is its model card)")
    if words.hub is not None:
        _pushed(to, words.hub, failed, say)
    return to, failed


# -------------------------------------------------------------------------------------------------------- the original


def network_node(config: DictConfig, game: Game) -> DictConfig:
    """The config of the network that makes samples."""
    return config.game.players[sampled(game)[0]].network


def _same_training(own: DictConfig, config: DictConfig) -> None:
    """Raises Mistake where the words on top of a run's own config tell of a training that did not happen."""
    told = [f"{key}: {own[key]} -> {config[key]}" for key in ("name", "seed", "images") if own[key] != config[key]]
    if changed := told + differences(own, config):
        raise Mistake(
            f"{changed[0]}: an export tells of the training that was, and this would be another. Leave it out; what "
            "may be said is where and how to measure: data.root, cache, device, evaluation.*"
        )


def _original(game: Game, config: DictConfig, node: Any, average: bool) -> Original:
    networks, weights = sampling_networks(game, average)
    network = networks[sampled(game)[0]].eval()
    alone = bare(node)
    alone.load_state_dict(frozen_state(network))
    stream = Stream(game.seed, "export")
    latent, y = game.prior.sample(LATENTS, stream), conditions(game, LATENTS, stream).get("label")
    with torch.no_grad():
        expected = originals(network, latent, y)
    if not expected.isfinite().all():
        raise Mistake("the generator makes values that are not finite (nan or infinite): nothing to export")
    reestimated = "reestimated" in drawn_as(game, average, "running", 1)["batch_norm"]
    return Original(game, config, node, weights, reestimated, network, alone, latent, y, expected)


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
                traced = program.program(original.alone, original.latent, original.y)
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
        safetensors.write(original.alone.state_dict(), path)
        network: Any = safetensors.fill(bare(original.node), path)
    elif name == "program":
        program.write(traced, path)
        network = by_name(program.read(path))
    else:
        onnx.write(traced, path, [*original.latent, *([] if original.y is None else ["y"])])
        network = by_name(onnx.read(path))
    return difference(network, original.latent, original.y, original.expected)


def _described(original: Original, words: DictConfig, folder: Path) -> None:
    """The description beside the files, the picture, and the config of the training."""
    config = original.config
    made = {
        "architecture": {"generator": _plain(network_node(config, original.game))},
        "prior": _plain(config.prior),
        "data": {"name": config.choice.get("data"), "shape": list(config.data.shape), "classes": config.data.classes},
        "classes": original.game.conditions.classes.get("y"),
        "range": [-1, 1] if modality_of(config).bounded else None,
        "call": "mapping",
        "weights": original.weights,
        **({"batch_norm": "reestimated"} if original.reestimated else {}),
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
    game, average = original.game, original.weights == "averaged"
    modality = modality_of(config)
    x = game.sample(modality.shown(8, 8), stream=Stream(game.seed, "grid"), average=average)
    modality.picture(x).save(folder / PICTURE)


def _facts(run: Run, original: Original, words: DictConfig, found: Any, failed: Any) -> dict[str, Any]:
    """What the card says."""
    game, config = original.game, original.config
    told = account(run, config, Moment(str(words.at), game.images, original.weights))
    parts = {name: node for name, node in _plain(config.prior).items() if name != "_target_"}
    settings = ("low", "high")
    modality = modality_of(config)
    made = {
        "shape": list(config.data.shape),
        "samples": modality.plural,
        "values": modality.values,
        "classes": game.conditions.classes.get("y"),
        "target": str(network_node(config, game)._target_),
        "parameters": sum(p.numel() for p in original.alone.parameters()),
        "latent": {name: part.dim for name, part in game.prior.items()},
        "distribution": {
            name: {"name": str(node["_target_"]).rpartition(".")[2].lower()}
            | {k: node[k] for k in settings if k in node}
            for name, node in parts.items()
        },
        "virtual_batch_norm": any(isinstance(m, FrozenVirtualBatchNorm) for m in original.alone.modules()),
        "batch_norm": any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in original.alone.modules()),
    }
    git = commit(CHECKOUT) if (CHECKOUT / "pyproject.toml").exists() else None
    exported = {"on": now(), "git": git, "packages": {name: importlib.metadata.version(name) for name in PACKAGES}}
    checked = {"latents": LATENTS, "sizes": list(SIZES), "tolerance": TOLERANCE}
    return discreet({"format": 1, **told, "generator": made, "formats": found, "failed": failed, "checked": checked,
                     "licence": words.licence, "exported": exported})  # fmt: skip


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
    folder = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True)
        yield folder
        os.replace(folder, to)
    except OSError as error:
        raise unwritable(to, error, key="to") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
