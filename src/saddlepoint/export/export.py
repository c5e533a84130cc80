"""The export folder of a run's generator: files that others can run, a description, a picture and a model card.

Each file is read back and compared with the original.
"""

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
from saddlepoint.config.training_keys import dotted_items
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.export.agreement import TOLERANCE, batch_sizes, measure_max_difference
from saddlepoint.export.card import PICTURE, format_card
from saddlepoint.export.card_facts import GeneratorVersion, card_facts
from saddlepoint.export.description import DEFAULT_CONDITIONS
from saddlepoint.export.format import onnx, program, safetensors
from saddlepoint.export.frozen_virtual_batch_norm import FrozenVirtualBatchNorm
from saddlepoint.export.generator import wrap_positional
from saddlepoint.export.load_generator import build_network
from saddlepoint.export.original import Original
from saddlepoint.export.sampling_module import SamplingModule
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.lineage import condition_columns, condition_draws, condition_entries
from saddlepoint.game.sampling import class_grid_labels, sampling_state
from saddlepoint.modality import is_bounded_shape
from saddlepoint.redaction import redact
from saddlepoint.run.folder import unwritable_error, write_file
from saddlepoint.run.provenance import CHECKOUT, timestamp
from saddlepoint.run.repository import commit_state
from saddlepoint.run.storage import atomic
from saddlepoint.stream import Stream

FILES = {"safetensors": safetensors.FILE, "onnx": onnx.FILE, "program": program.FILE}
PACKAGES = ("saddlepoint", "torch", "safetensors", "onnx", "onnxscript", "onnxruntime")  # wrote and checked the files
MACHINE_KEYS = ("outputs", "cache", "logger", "launcher", "overwrite", "device", "devices", "threads")
FileFacts = dict[str, dict[str, Any]]  # by format: file, bytes, sha256, difference
Failures = dict[str, str]  # by format: why it was not written


def parse_formats(formats: Any) -> list[str]:
    """Return the named formats without duplicates.  Raises Mistake for an unknown format, and for an empty list."""
    names = list(dict.fromkeys(map(str, formats if OmegaConf.is_list(formats) else [formats])))
    for name in names:
        if name not in FILES:
            raise Mistake(f"formats={name}: there is no such format.{did_you_mean(name, FILES)} "
                          f"There are: {', '.join(FILES)}")  # fmt: skip
    if not names:
        raise Mistake(f"formats=[]: name at least one of {', '.join(FILES)}")
    return names


def export(original: Original, formats: Sequence[str], licence: str | None) -> tuple[FileFacts, Failures]:
    """Write the folder `original.folder` atomically; return the written files, and the failures, by format.

    Raises Mistake if no format could be written.
    """
    try:
        with atomic.atomic_folder(original.folder) as folder:
            files, failures = _write_formats(original, formats, folder)
            if not files:
                reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
                raise Mistake(f"nothing was written: {reasons}")
            _write_description_and_picture(original, licence, folder)
            facts = _model_card_facts(original, licence, files, failures)
            write_file(folder / "card.json", json.dumps(facts, indent=2) + "\n")
            write_file(folder / "README.md", format_card(facts))
    except OSError as error:
        raise unwritable_error(original.folder, error, key="to") from None
    return files, failures


def _write_formats(original: Original, names: Sequence[str], folder: Path) -> tuple[FileFacts, Failures]:
    """Write each format and compare it with the original; return the facts of each file, and each failure's reason."""
    files: FileFacts = {}
    failures: Failures = {}
    trace = cache(lambda: program.trace_program(original.module, original.latent, original.condition))
    for name in names:
        path = folder / FILES[name]
        try:
            network = _write_and_load(name, original, trace, path)
            difference = measure_max_difference(network, original.latent, original.condition, original.expected)
            if difference > TOLERANCE:
                raise Mistake(f"it differs from the original by {difference:.3g}, more than the allowed {TOLERANCE:g}")
            content = path.read_bytes()
            facts = {"file": path.name, "bytes": len(content), "sha256": sha256(content).hexdigest()}
            files[name] = {**facts, "difference": difference}
        except Mistake as mistake:
            path.unlink(missing_ok=True)
            failures[name] = str(mistake)
    remedy = f"; formats=[{','.join(files)}] works" if files else ""
    return files, {name: f"{reason}{remedy}" for name, reason in failures.items()}


def _write_and_load(name: str, original: Original, trace: Callable[[], Any], path: Path) -> Any:
    """Write one format; return the network that the file loads to."""
    if name == "safetensors":
        safetensors.save_weights(sampling_state(dict(original.module.networks.items())), path)
        networks = {name: build_network(node, name) for name, node in original.network_configs.items()}
        safetensors.load_weights(networks, path)
        return SamplingModule(original.module.wiring, networks)
    if name == "program":
        program.save_program(trace(), path)
        return wrap_positional(program.load_program(path))
    onnx.save_onnx(trace(), path, original.module.wiring.input_names())
    return wrap_positional(onnx.load_onnx(path))


def _write_description_and_picture(original: Original, licence: str | None, folder: Path) -> None:
    """Write the description (config.yaml), the config of the training, and the picture."""
    config, game, modality = original.config, original.game, original.modality
    source = game.conditions.source
    implied_bounded = is_bounded_shape(config.data.shape)
    description = {
        **original.generator_config(),
        "data": {"name": config.choice.get("data"), "shape": list(config.data.shape), "classes": config.data.classes},
        "classes": original.classes or None,
        **({"inputs": original.input_specs} if original.input_specs else {}),
        **({"conditions": source} if condition_columns(game) and source != DEFAULT_CONDITIONS else {}),
        "range": [-1, 1] if modality.bounded else None,
        **({} if implied_bounded in (None, modality.bounded) else {"modality": modality.name}),
        "call": "mapping",
        "weights": original.weights,
        **({"batch_norm": "reestimated"} if original.batch_norm_reestimated else {}),
        **({"images": game.images} if modules_with_hook(original.module, "at_images") else {}),
        "seed": int(config.seed),
        "licence": licence,
    }
    comment = f"# the generator of {config.name}, seed {config.seed}: saddlepoint.exported(<this folder>) loads it\n"
    write_file(folder / "config.yaml", comment + _to_yaml(description))
    plain: Any = OmegaConf.to_container(config, resolve=False)
    training = {key: value for key, value in plain.items() if key not in MACHINE_KEYS}
    training["data"] = {key: value for key, value in training["data"].items() if key != "root"}
    write_file(folder / "training.yaml", _to_yaml(redact(training)))
    x = game.sample(*class_grid_labels(game, modality, 8, 8), Stream(game.seed, "grid"), original.average)
    modality.picture(x).save(folder / PICTURE)


def _to_yaml(plain: Any) -> str:
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _model_card_facts(original: Original, licence: str | None, files: FileFacts, failures: Failures) -> dict[str, Any]:
    """Return the facts of the model card."""
    game, config, modality = original.game, original.config, original.modality
    recorded = card_facts(original.run, config, GeneratorVersion(original.at, game.images, original.weights))
    if game.samples != config.game.get("samples", game.samples):  # the recorded measurements are of another side
        recorded |= {"scores": {}, "anchors": {}, "seeds": {}, "memorisation": None}
    generator_config, classes, inputs = original.generator_config(), original.classes, original.input_specs
    targets = [str(value) for key, value in dotted_items(generator_config) if key.rpartition(".")[2] == "_target_"]
    user_modules = [name.rpartition(".")[0] for name in targets if name.partition(".")[0] not in allow_list.ROOTS]
    layers = list(original.module.modules())
    generator = {
        "shape": list(config.data.shape),
        "modality": modality.name,
        "samples": modality.plural,
        "values": modality.value_description,
        "conditions": {
            name: {"classes": classes[name]} if name in classes else inputs[name] for name in condition_entries(game)
        },
        "draws": list(condition_draws(game)),
        "networks": list(original.network_configs),
        "allow": list(dict.fromkeys(user_modules)),
        "parameters": sum(p.numel() for p in original.module.parameters()),
        "latent": {name: list(part.shape[1:]) for name, part in original.latent.items()},
        "distribution": {
            name: {"name": str(node["_target_"]).rpartition(".")[2].lower()}
            | {end: node[end] for end in ("low", "high") if end in node}
            for name, node in generator_config["prior"].items()
            if name != "_target_"
        },
        "virtual_batch_norm": any(isinstance(m, FrozenVirtualBatchNorm) for m in layers),
        "batch_norm": any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in layers),
    }
    git = commit_state(CHECKOUT) if (CHECKOUT / "pyproject.toml").exists() else None
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    n = len(original.expected)
    checked = {"rows": n, "split": original.split, "sizes": batch_sizes(n), "tolerance": TOLERANCE}
    return redact({"format": 2, **recorded, "generator": generator, "formats": files, "failed": failures,
                   "checked": checked, "licence": licence,
                   "exported": {"on": timestamp(), "git": git, "packages": packages}})  # fmt: skip
