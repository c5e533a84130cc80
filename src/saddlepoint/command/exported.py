"""A generator from its file: one of our exports, or somebody else's, asked as its description says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from saddlepoint.command import permission, stored
from saddlepoint.command.check import instantiate
from saddlepoint.error import Mistake
from saddlepoint.export import description, onnx, program, safetensors, script
from saddlepoint.export.description import Description
from saddlepoint.export.frozen import receptive
from saddlepoint.export.generator import Generator

SCRIPTS = (".pt", ".pth", ".ts", ".jit", ".torchscript")
PROGRAMS = (".pt2",)
ENDINGS = (".safetensors", ".onnx", *PROGRAMS, *SCRIPTS)  # the first that a folder holds is taken
PICKLES = (".pkl", ".pickle", ".ckpt", ".bin")

MADE = "architecture.generator"  # where a description, which is a file format, has the network that makes samples


def exported(
    place: str | Path, allow: Sequence[str] = (), trust: bool = False, described: str | Path | None = None
) -> Generator:
    """The generator in a file, or in an exported folder: exported(folder)(exported(folder).latent(64)).

    `described` is its yaml; None: generator.yaml or config.yaml beside it.  `allow` names modules of which its class
    may be, beside ours and torch's layers; `trust` lets TorchScript and programs of torch.export run, which are code.
    Raises Mistake.
    """
    file = file_of(Path(place).expanduser())
    if file.suffix.lower() in (*SCRIPTS, *PROGRAMS) and not trust:
        raise Mistake(
            f"{file} is a program: it may do what it likes with your files. If you trust who made it: trust=true. "
            "safetensors and ONNX need no trust"
        )
    found = _description(Path(described) if described is not None else description.beside(file))
    prior = {"_target_": "saddlepoint.prior.prior.Prior", **found.prior}
    nodes = {"architecture": {"generator": found.architecture}, "prior": prior}
    root = OmegaConf.create(nodes)
    permission.grant(root, list(allow))
    latents = _prior(root)
    return Generator(_network(file, found, root), latents, found)


def _prior(root: Any) -> Any:
    """The latents.  Raises Mistake for a part that draws none, or whose name is taken."""
    try:
        prior = instantiate(root.prior, "prior")
    except KeyError as error:
        raise Mistake(f"prior: no part can have this name: {error.args[0]}") from None
    for name, part in prior.items():
        if not hasattr(part, "sample"):
            raise Mistake(f"prior.{name}: {root.prior[name]._target_} draws no latents; distribution: normal does")
    return prior


def _description(path: Path) -> Description:
    plain: Any = OmegaConf.to_container(stored.read(path), resolve=False)
    plain.pop(permission.KEY, None)  # what a file says of it is not heard
    return description.checked(plain, path)


def bare(node: Any, path: str = MADE) -> nn.Module:
    """The network of a node, ready for the weights of an export; torch's global generators stay as they are."""
    with torch.random.fork_rng(devices=[]):
        network = instantiate(node, path)
    if not isinstance(network, nn.Module):
        raise Mistake(f"{path}: {node._target_} makes a {type(network).__name__}, and a generator is a torch.nn.Module")
    return receptive(network)


def by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of (latent, y) from one of the parts in their order, then y."""
    return lambda latent, y=None: function(*latent.values(), *([] if y is None else [y]))


def _network(file: Path, found: Description, root: Any) -> Callable[..., Any]:
    ending = file.suffix.lower()
    if ending == ".safetensors":
        if found.architecture is None:
            raise Mistake(f"{file} holds weights alone: its description lacks architecture.generator, whose they are")
        return safetensors.fill(bare(OmegaConf.select(root, MADE)), file)
    read: Mapping[str, Callable[[Path], Any]] = {".onnx": onnx.read, ".pt2": program.read}
    function = read.get(ending, script.read)(file)
    ours = found.architecture is not None and found.call == "mapping" and ending not in SCRIPTS
    return by_name(function) if ours else function  # our description is of the class, which takes a mapping


def file_of(place: Path) -> Path:
    """The file of a generator.  Raises Mistake where there is none, or of a kind that nobody reads."""
    if not place.exists():
        raise Mistake(f"from={place}: there is no such file or folder")
    if place.is_dir():
        there = [path for ending in ENDINGS for path in sorted(place.glob(f"*{ending}"))]
        if not there:
            raise Mistake(f"from={place}: this folder holds no generator ({', '.join(ENDINGS[:4])})")
        return there[0]
    if place.suffix.lower() in PICKLES:
        raise Mistake(
            f"{place} is a pickle, which may do anything when it is read, so it is not. Save its weights as "
            "safetensors (safetensors.torch.save_file) and say the class in generator.yaml"
        )
    if place.suffix.lower() not in ENDINGS:
        raise Mistake(f"from={place}: a generator is a file that ends in {', '.join(ENDINGS)}")
    return place
