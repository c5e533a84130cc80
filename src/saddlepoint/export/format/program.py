"""A generator as a program of torch.export: torch runs it without any of our code.  Any batch size, one included.

A program is code, as PyTorch says of it and of TorchScript: to read somebody else's is to trust them.  TorchScript is
read only: programs have followed it.  A plain pickle, which a .pt may be as well, can do anything while it is being
read, and is never read here.
"""

import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import Parameter, Signature
from keyword import iskeyword
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake, first_line
from saddlepoint.turn import UNCONDITIONAL, Condition

FILE = "generator.pt2"
EXAMPLES = 3  # rows that the tracer sees: 1 and 2 are numbers that shapes have anyway


class Positional(nn.Module):
    """A module of (latent, condition) that takes the latent's parts and then the conditions, one after the other."""

    def __init__(self, network: nn.Module, parts: Sequence[str], conditions: Sequence[str]) -> None:
        super().__init__()
        self.network = network

        def forward(*inputs: Tensor) -> Tensor:
            named = dict(zip([*parts, *conditions], inputs, strict=True))
            return network({name: named[name] for name in parts}, {name: named[name] for name in conditions})

        # what cannot name a parameter (class, hair-colour) goes by its place
        names = [f"input_{i}" if iskeyword(name) or not name.isidentifier() else name
                 for i, name in enumerate((*parts, *conditions))]  # fmt: skip
        each = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        forward.__signature__ = Signature(each)  # pyright: ignore[reportFunctionMemberAccess]  torch reads names off it
        self.forward = forward


def trace_program(network: nn.Module, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Any:
    """`network` as an ExportedProgram whose inputs are the parts of the latent and then the conditions, by these names.

    Raises Mistake where what it does depends on the values it sees, or it takes the batch's size for a constant.
    """
    given = [*latent.values(), *condition.values()]
    # copies: a program keeps its examples, and a slice would keep all that it was cut from
    inputs = [part[torch.arange(EXAMPLES) % len(part)] for part in given]
    batch = torch.export.Dim("batch", min=1)
    alone = Positional(network, list(latent), list(condition))
    shapes = tuple({0: batch} for _ in inputs)
    try:
        with suppress_messages(), torch.no_grad():
            found = torch.export.export(alone, tuple(inputs), dynamic_shapes=shapes)
    except Mistake:
        raise
    except Exception as error:  # the tracer raises whatever the network's code runs into
        said = f"torch.export cannot trace the network: {first_line(error)}"
        if "specialized it to be a constant" in str(error):
            said = "the network takes the batch's size for a constant: len(x) in its forward, where x.shape[0] may vary"
        elif "data-dependent" in str(error):
            said = "the network branches on the values that it sees, and a graph has no branches"
        raise Mistake(said) from None
    for node in found.graph.nodes:
        node.meta.pop("stack_trace", None)  # files and folders of this machine
    return found


def save_program(found: Any, path: Path) -> None:
    """Write a program."""
    with suppress_messages():
        torch.export.save(found, path)


def load_program(path: Path) -> Callable[..., Tensor]:
    """The program in a file, as a function of its inputs.  Raises Mistake where it is none."""
    try:
        with suppress_messages():
            module = torch.export.load(path).module()
    except Exception:  # torch says several unrelated things of what is no program
        raise Mistake(f"{path} is no program of torch.export, or one of another version of torch") from None
    return module


def load_script(path: Path) -> Callable[..., Tensor]:
    """The module in a TorchScript file, in evaluation mode.  Raises Mistake where it is none, a pickle for one."""
    if not _is_script(path):
        raise Mistake(
            f"{path} is no TorchScript; a pickle may do anything when it is read, so it is not. Save the weights as "
            "safetensors (safetensors.torch.save_file(network.state_dict(), ...)) and say the class in generator.yaml"
        )
    try:
        with suppress_messages():
            return torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise Mistake(f"{path} is a broken TorchScript: {first_line(error)}") from None


def _is_script(path: Path) -> bool:
    """Whether it is an archive that holds TorchScript's code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())


@contextmanager
def suppress_messages() -> Iterator[None]:
    """Without what torch says to its developers."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.fx", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
