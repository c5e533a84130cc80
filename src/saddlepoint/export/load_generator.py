"""A generator from its file: one of our exports, or an external file with a description."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from saddlepoint.config import allow_list, config_file
from saddlepoint.config.instantiate import instantiate
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.export.description import GENERATOR, Description, find_description_file, parse_description
from saddlepoint.export.format import onnx, program, safetensors
from saddlepoint.export.frozen_virtual_batch_norm import freeze_for_export
from saddlepoint.export.generator import ExportedGenerator, wrap_positional
from saddlepoint.export.sampling_module import SamplingModule, Wiring
from saddlepoint.game.condition_source import ConditionSource
from saddlepoint.game.lineage import condition_entries
from saddlepoint.game.side import LATENT
from saddlepoint.stream import preserve_random_state

SCRIPT_SUFFIXES = (".pt", ".pth", ".ts", ".jit", ".torchscript")
PROGRAM_SUFFIXES = (".pt2",)
GENERATOR_SUFFIXES = (".safetensors", ".onnx", *PROGRAM_SUFFIXES, *SCRIPT_SUFFIXES)  # in order of preference
PICKLE_SUFFIXES = (".pkl", ".pickle", ".ckpt", ".bin")


def exported(
    path: str | Path, allow: Sequence[str] = (), trust: bool = False, described: str | Path | None = None
) -> ExportedGenerator:
    """Load the generator from a file or an export folder: g = exported(folder); g(g.latent(64)).

    With conditions, which `g.conditions` names, call it as g(g.latent(64), {name: tensor}).

    allow      modules from which the network's class may come, in addition to ours and torch's layers
    trust      whether TorchScript and torch.export programs may run; they are code
    described  the path of its description; None: generator.yaml or config.yaml next to the file
    Raises Mistake if there is no such file or description, if they do not fit, or if a permission is missing.
    """
    file = find_generator_file(Path(path).expanduser())
    if file.suffix.lower() in (*SCRIPT_SUFFIXES, *PROGRAM_SUFFIXES) and not trust:
        raise Mistake(
            f"{file} is a program: it can do anything with your files. If you trust its author: trust=true. "
            "safetensors and ONNX need no trust"
        )
    description_file = Path(described) if described is not None else find_description_file(file)
    plain: Any = OmegaConf.to_container(config_file.load_config(description_file), resolve=False)
    plain.pop(allow_list.KEY, None)  # a file cannot grant permissions
    description = parse_description(plain, description_file)
    nodes = {key: getattr(description, key) or {} for key in ("architecture", "makers", "prior", "draws")}
    config = OmegaConf.create(nodes)
    allow_list.allow_names(config, list(allow))
    wiring = _build_wiring(description_file, description, config)
    return ExportedGenerator(_load_network(file, description, config, wiring), wiring, description)


def _build_wiring(path: Path, description: Description, config: Any) -> Wiring:
    """Return how samples are made.  Raises Mistake if a condition of the description is not one of the samples."""
    keys = {f"draws.{name}": name for name in description.draws} | ({"prior": LATENT} if description.prior else {})
    priors = {name: _build_prior(config, key) for key, name in keys.items()}
    wiring = Wiring(description.sides, description.samples, priors, ConditionSource(), description.images)
    entries = condition_entries(wiring)
    for name in (*description.classes, *description.inputs):
        if name not in entries:
            conditions = ", ".join(entries) or "no conditions"
            raise Mistake(f"{path}: {name}: samples have {conditions}.{did_you_mean(name, entries)}")
    classes = {entries[name]: number for name, number in description.classes.items()}
    return replace(wiring, conditions=ConditionSource(description.conditions, classes, f"{path}: conditions"))


def _build_prior(config: Any, key: str) -> Any:
    """Return the prior at a key.  Raises Mistake if a part is not a distribution, or if its name is reserved."""
    node = OmegaConf.select(config, key)
    node["_target_"] = "saddlepoint.prior.prior.Prior"
    try:
        prior = instantiate(node, key)
    except KeyError as error:
        raise Mistake(f"{key}: no part can have this name: {error.args[0]}") from None
    for name, part in prior.items():
        if not hasattr(part, "sample"):
            raise Mistake(f"{key}.{name}: {node[name]._target_} draws no latents; distribution: normal does")
    return prior


def build_network(node: Any, path: str) -> nn.Module:
    """Build the network of a node, ready for the weights of an export; torch's random state is preserved."""
    with preserve_random_state():
        network = instantiate(node, path)
    if not isinstance(network, nn.Module):
        raise Mistake(f"{path}: {node._target_} makes a {type(network).__name__}, and a generator is a torch.nn.Module")
    return freeze_for_export(network)


def _load_network(file: Path, description: Description, config: Any, wiring: Wiring) -> Callable[..., Any]:
    """Return the file's network as a function of (latent, condition)."""
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        return _build_with_weights(file, description, config, wiring)
    loaders: Mapping[str, Callable[[Path], Any]] = {".onnx": onnx.load_onnx, ".pt2": program.load_program}
    function = loaders.get(suffix, program.load_script)(file)
    is_our_program = description.architecture is not None and suffix not in SCRIPT_SUFFIXES
    if description.call == "parts" or suffix == ".onnx" or is_our_program:
        return wrap_positional(function)  # our description has call: mapping, which is how the classes are called
    if description.condition_is_tensor or not condition_entries(wiring):
        return lambda latent, condition: function(latent, *condition.values())
    return lambda latent, condition: function(latent, dict(condition))


def _build_with_weights(file: Path, description: Description, config: Any, wiring: Wiring) -> Callable[..., Any]:
    """Build the networks of the description with the weights in the file."""
    if description.architecture is None:
        raise Mistake(f"{file} holds only weights, and its description lacks architecture.generator")
    names = [name for side in description.sides.values() for name in side.by]
    keys = {name: f"makers.{name}" if name in description.makers else f"architecture.{name}" for name in names}
    networks = {name: build_network(OmegaConf.select(config, key), key) for name, key in keys.items()}
    safetensors.load_weights(networks, file)
    if description.call == "parts":
        return wrap_positional(networks[GENERATOR])
    return SamplingModule(wiring, networks)


def find_generator_file(path: Path) -> Path:
    """Return the file of a generator, in a folder or itself.  Raises Mistake if there is none of a known format."""
    if not path.exists():
        raise Mistake(f"from={path}: there is no such file or folder")
    if path.is_dir():
        files = [file for suffix in GENERATOR_SUFFIXES for file in sorted(path.glob(f"*{suffix}"))]
        if not files:
            raise Mistake(f"from={path}: this folder holds no generator ({', '.join(GENERATOR_SUFFIXES[:4])})")
        return files[0]
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise Mistake(
            f"{path} is a pickle, which can run any code when it is read, so it is refused. Save its weights as "
            "safetensors (safetensors.torch.save_file) and name the class in generator.yaml"
        )
    if path.suffix.lower() not in GENERATOR_SUFFIXES:
        raise Mistake(f"from={path}: a generator file ends in {', '.join(GENERATOR_SUFFIXES)}")
    return path
