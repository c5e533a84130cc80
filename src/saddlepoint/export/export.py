"""A run's generator as files that others can run, each held against it, with a description and a model card."""

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from torch import nn

from saddlepoint.config import allow_list
from saddlepoint.config.training_keys import dotted_items as leaves_of
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.export.agreement import TOLERANCE, batch_sizes, max_difference
from saddlepoint.export.card import PICTURE, format_card
from saddlepoint.export.card_facts import GeneratorVersion, card_facts
from saddlepoint.export.description import DEFAULT_CONDITIONS as DEFAULT
from saddlepoint.export.format import onnx, program, safetensors
from saddlepoint.export.frozen_virtual_batch_norm import FrozenVirtualBatchNorm
from saddlepoint.export.generator import wrap_positional
from saddlepoint.export.load_generator import build_network
from saddlepoint.export.original import Original
from saddlepoint.export.sampling_module import SamplingModule
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.lineage import condition_columns, condition_draws, condition_entries
from saddlepoint.game.sampling import class_grid, sampling_state
from saddlepoint.modality import is_bounded_shape
from saddlepoint.redaction import redact
from saddlepoint.run.folder import unwritable_error, write_file
from saddlepoint.run.provenance import CHECKOUT, timestamp
from saddlepoint.run.repository import current_commit
from saddlepoint.run.storage import atomic
from saddlepoint.stream import Stream

FILES = {"safetensors": safetensors.FILE, "onnx": onnx.FILE, "program": program.FILE}
PACKAGES = ("saddlepoint", "torch", "safetensors", "onnx", "onnxscript", "onnxruntime")  # wrote and checked the files
OURS = ("outputs", "cache", "logger", "launcher", "overwrite", "device", "devices", "threads")  # of this machine
Written = dict[str, dict[str, Any]]  # by format: file, bytes, sha256, difference
Failed = dict[str, str]  # by format: why it was not written


def parse_formats(formats: Any) -> list[str]:
    """Each format that was named, once.  Raises Mistake for one that there is not, and for none."""
    names = list(dict.fromkeys(map(str, formats if OmegaConf.is_list(formats) else [formats])))
    for name in names:
        if name not in FILES:
            raise Mistake(f"formats={name}: there is no such format.{did_you_mean(name, FILES)} "
                          f"There are: {', '.join(FILES)}")  # fmt: skip
    if not names:
        raise Mistake(f"formats=[]: name one at least of {', '.join(FILES)}")
    return names


def export(original: Original, formats: Sequence[str], licence: str | None) -> tuple[Written, Failed]:
    """Write the folder `original.to`, whole or not at all.  Raises Mistake where no format could be written."""
    try:
        with atomic.atomic_folder(original.folder) as folder:
            written, failed = _formats(original, formats, folder)
            if not written:
                raise Mistake("nothing was written: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
            _describe(original, licence, folder)
            facts = _facts(original, licence, written, failed)
            write_file(folder / "card.json", json.dumps(facts, indent=2) + "\n")
            write_file(folder / "README.md", format_card(facts))
    except OSError as error:
        raise unwritable_error(original.folder, error, key="to") from None
    return written, failed


def _formats(original: Original, names: Sequence[str], folder: Path) -> tuple[Written, Failed]:
    """What was written by name, each file held against the original; and what was not, with the reason."""
    written: Written = {}
    failed: Failed = {}
    traced = cache(lambda: program.trace_program(original.module, original.latent, original.condition))
    for name in names:
        path = folder / FILES[name]
        try:
            read_back = _written(name, original, traced, path)
            far = max_difference(read_back, original.latent, original.condition, original.expected)
            if far > TOLERANCE:
                raise Mistake(f"it differs from the original by {far:.3g}, and {TOLERANCE:g} is the most")
            content = path.read_bytes()
            facts = {"file": path.name, "bytes": len(content), "sha256": sha256(content).hexdigest()}
            written[name] = {**facts, "difference": far}
        except Mistake as mistake:
            path.unlink(missing_ok=True)
            failed[name] = str(mistake)
    remedy = f"; formats=[{','.join(written)}] can" if written else ""
    return written, {name: f"{why}{remedy}" for name, why in failed.items()}


def _written(name: str, original: Original, traced: Callable[[], Any], path: Path) -> Any:
    """Write one format; the network that is read back from the file."""
    if name == "safetensors":
        safetensors.save_weights(sampling_state(dict(original.module.networks.items())), path)
        networks = {name: build_network(node, name) for name, node in original.network_configs.items()}
        safetensors.load_weights(networks, path)
        return SamplingModule(original.module.wiring, networks)
    if name == "program":
        program.save_program(traced(), path)
        return wrap_positional(program.load_program(path))
    onnx.save_onnx(traced(), path, original.module.wiring.inputs())
    return wrap_positional(onnx.load_onnx(path))


def _describe(original: Original, licence: str | None, folder: Path) -> None:
    """The description beside the files, the picture, and the config of the training."""
    config, game, modality = original.config, original.game, original.modality
    where = game.conditions.source
    implied = is_bounded_shape(config.data.shape)  # by the shape of a sample
    description = {
        **original.generator_config(),
        "data": {"name": config.choice.get("data"), "shape": list(config.data.shape), "classes": config.data.classes},
        "classes": original.classes or None,
        **({"inputs": original.inputs} if original.inputs else {}),
        **({"conditions": where} if condition_columns(game) and where != DEFAULT else {}),
        "range": [-1, 1] if modality.bounded else None,
        **({} if implied in (None, modality.bounded) else {"modality": modality.name}),
        "call": "mapping",
        "weights": original.weights,
        **({"batch_norm": "reestimated"} if original.batch_norm_reestimated else {}),
        **({"images": game.images} if modules_with_hook(original.module, "at_images") else {}),
        "seed": int(config.seed),
        "licence": licence,
    }
    opening = f"# the generator of {config.name}, seed {config.seed}: saddlepoint.exported(<this folder>) builds it\n"
    write_file(folder / "config.yaml", opening + _yaml(description))
    training: Any = OmegaConf.to_container(config, resolve=False)
    kept = {key: value for key, value in training.items() if key not in OURS}
    kept["data"] = {key: value for key, value in kept["data"].items() if key != "root"}
    write_file(folder / "training.yaml", _yaml(redact(kept)))
    x = game.sample(*class_grid(game, modality, 8, 8), Stream(game.seed, "grid"), original.average)
    modality.picture(x).save(folder / PICTURE)


def _yaml(plain: Any) -> str:
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _facts(original: Original, licence: str | None, written: Written, failed: Failed) -> dict[str, Any]:
    """What the card says."""
    game, config, modality = original.game, original.config, original.modality
    told = card_facts(original.run, config, GeneratorVersion(original.at, game.images, original.weights))
    made_by, classes, inputs = original.generator_config(), original.classes, original.inputs
    targets = [str(value) for key, value in leaves_of(made_by) if key.rpartition(".")[2] == "_target_"]
    own = [name.rpartition(".")[0] for name in targets if name.partition(".")[0] not in allow_list.ROOTS]
    layers = list(original.module.modules())
    made = {
        "shape": list(config.data.shape),
        "modality": modality.name,
        "samples": modality.plural,
        "values": modality.value_description,
        "conditions": {
            name: {"classes": classes[name]} if name in classes else inputs[name] for name in condition_entries(game)
        },
        "draws": list(condition_draws(game)),
        "networks": list(original.network_configs),
        "allow": list(dict.fromkeys(own)),
        "parameters": sum(p.numel() for p in original.module.parameters()),
        "latent": {name: list(part.shape[1:]) for name, part in original.latent.items()},
        "distribution": {
            name: {"name": str(node["_target_"]).rpartition(".")[2].lower()}
            | {end: node[end] for end in ("low", "high") if end in node}
            for name, node in made_by["prior"].items()
            if name != "_target_"
        },
        "virtual_batch_norm": any(isinstance(m, FrozenVirtualBatchNorm) for m in layers),
        "batch_norm": any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in layers),
    }
    git = current_commit(CHECKOUT) if (CHECKOUT / "pyproject.toml").exists() else None
    exported = {
        "on": timestamp(),
        "git": git,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    n = len(original.expected)
    checked = {"rows": n, "split": original.split, "sizes": batch_sizes(n), "tolerance": TOLERANCE}
    return redact({"format": 2, **told, "generator": made, "formats": written, "failed": failed, "checked": checked,
                     "licence": licence, "exported": exported})  # fmt: skip
