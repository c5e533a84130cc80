"""A generator from its file: one of our exports, or somebody else's, asked as its description says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from saddlepoint.config import allow_list, config_file
from saddlepoint.config.instantiate import instantiate
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.export import description
from saddlepoint.export.description import GENERATOR, Description
from saddlepoint.export.format import onnx, program, safetensors
from saddlepoint.export.frozen_virtual_batch_norm import replace_virtual_batch_norm
from saddlepoint.export.generator import ExportedGenerator, wrap_positional
from saddlepoint.export.sampling_module import SamplingModule, Wiring
from saddlepoint.game.condition_source import ConditionSource
from saddlepoint.game.lineage import condition_entries
from saddlepoint.game.side import LATENT
from saddlepoint.stream import preserve_random_state

SCRIPTS = (".pt", ".pth", ".ts", ".jit", ".torchscript")
PROGRAMS = (".pt2",)
GENERATOR_SUFFIXES = (".safetensors", ".onnx", *PROGRAMS, *SCRIPTS)  # the first that a folder holds is taken
PICKLE_SUFFIXES = (".pkl", ".pickle", ".ckpt", ".bin")


def exported(
    path: str | Path, allow: Sequence[str] = (), trust: bool = False, described: str | Path | None = None
) -> ExportedGenerator:
    """The generator in a file, or in an exported folder: g = exported(folder); g(g.latent(64)).

    With conditions, which `g.conditions` names, it is called g(g.latent(64), {name: tensor}).

    `described` is its yaml; None: generator.yaml or config.yaml beside it.  `allow` names modules of which its class
    may be, beside ours and torch's layers; `trust` lets TorchScript and programs of torch.export run, which are code.
    Raises Mistake.
    """
    file = find_generator_file(Path(path).expanduser())
    if file.suffix.lower() in (*SCRIPTS, *PROGRAMS) and not trust:
        raise Mistake(
            f"{file} is a program: it may do what it likes with your files. If you trust who made it: trust=true. "
            "safetensors and ONNX need no trust"
        )
    path = Path(described) if described is not None else description.find_description(file)
    plain: Any = OmegaConf.to_container(config_file.load_config(path), resolve=False)
    plain.pop(allow_list.KEY, None)  # what a file says of it is not heard
    found = description.parse_description(plain, path)
    root = OmegaConf.create({key: getattr(found, key) or {} for key in ("architecture", "makers", "prior", "draws")})
    allow_list.grant(root, list(allow))
    wiring = _wiring(path, found, root)
    return ExportedGenerator(_network(file, found, root, wiring), wiring, found)


def _wiring(path: Path, found: Description, root: Any) -> Wiring:
    """How samples are made.  Raises Mistake where a condition is described that samples are not made under."""
    priors = {f"draws.{name}": name for name in found.draws} | ({"prior": LATENT} if found.prior else {})
    made = {name: _prior(root, key) for key, name in priors.items()}
    plain = Wiring(found.sides, found.samples, made, ConditionSource(), found.images)
    names = condition_entries(plain)
    for name in (*found.classes, *found.inputs):
        if name not in names:
            there = ", ".join(names) or "nothing"
            raise Mistake(f"{path}: {name}: samples are made under {there}.{did_you_mean(name, names)}")
    classes = {names[name]: number for name, number in found.classes.items()}
    return replace(plain, conditions=ConditionSource(found.conditions, classes, f"{path}: conditions"))


def _prior(root: Any, key: str) -> Any:
    """Latents or a draw.  Raises Mistake for a part that draws nothing, or whose name is taken."""
    node = OmegaConf.select(root, key)
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
    """The network of a node, ready for the weights of an export; torch's global generators stay as they are."""
    with preserve_random_state():
        network = instantiate(node, path)
    if not isinstance(network, nn.Module):
        raise Mistake(f"{path}: {node._target_} makes a {type(network).__name__}, and a generator is a torch.nn.Module")
    return replace_virtual_batch_norm(network)


def _network(file: Path, found: Description, root: Any, wiring: Wiring) -> Callable[..., Any]:
    ending = file.suffix.lower()
    if ending == ".safetensors":
        return _built(file, found, root, wiring)
    read: Mapping[str, Callable[[Path], Any]] = {".onnx": onnx.load_onnx, ".pt2": program.load_program}
    function = read.get(ending, program.load_script)(file)
    if found.call == "parts" or ending == ".onnx" or (found.architecture is not None and ending not in SCRIPTS):
        return wrap_positional(function)  # our description is of the classes, which take mappings
    if found.condition_is_tensor or not condition_entries(wiring):
        return lambda latent, condition: function(latent, *condition.values())
    return lambda latent, condition: function(latent, dict(condition))


def _built(file: Path, found: Description, root: Any, wiring: Wiring) -> Callable[..., Any]:
    """The networks of the description, with the weights of the file."""
    if found.architecture is None:
        raise Mistake(f"{file} holds weights alone: its description lacks architecture.generator, whose they are")
    makers = [maker for side in found.sides.values() for maker in side.by]
    places = {name: f"makers.{name}" if name in found.makers else f"architecture.{name}" for name in makers}
    networks = {name: build_network(OmegaConf.select(root, place), place) for name, place in places.items()}
    safetensors.load_weights(networks, file)
    if found.call == "parts":
        return wrap_positional(networks[GENERATOR])
    return SamplingModule(wiring, networks)


def find_generator_file(place: Path) -> Path:
    """The file of a generator.  Raises Mistake where there is none, or of a kind that nobody reads."""
    if not place.exists():
        raise Mistake(f"from={place}: there is no such file or folder")
    if place.is_dir():
        there = [path for ending in GENERATOR_SUFFIXES for path in sorted(place.glob(f"*{ending}"))]
        if not there:
            raise Mistake(f"from={place}: this folder holds no generator ({', '.join(GENERATOR_SUFFIXES[:4])})")
        return there[0]
    if place.suffix.lower() in PICKLE_SUFFIXES:
        raise Mistake(
            f"{place} is a pickle, which may do anything when it is read, so it is not. Save its weights as "
            "safetensors (safetensors.torch.save_file) and say the class in generator.yaml"
        )
    if place.suffix.lower() not in GENERATOR_SUFFIXES:
        raise Mistake(f"from={place}: a generator is a file that ends in {', '.join(GENERATOR_SUFFIXES)}")
    return place
