"""A generator as a torch.export program, which runs without our code, for any batch size.

A program is code, and so is TorchScript: load them only from people you trust.  TorchScript is read but not written;
programs have replaced it.  A .pt file may also be a plain pickle, which can run any code while it is read: those are
never read.
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
EXAMPLES = 3  # rows of the tracer's inputs: sizes 1 and 2 also occur elsewhere in shapes


class Positional(nn.Module):
    """Wrap a module of (latent, condition): its inputs are the latent's parts, then the conditions, as positions."""

    def __init__(self, network: nn.Module, parts: Sequence[str], conditions: Sequence[str]) -> None:
        super().__init__()
        self.network = network

        def forward(*inputs: Tensor) -> Tensor:
            tensors = dict(zip([*parts, *conditions], inputs, strict=True))
            return network({name: tensors[name] for name in parts}, {name: tensors[name] for name in conditions})

        # a name that cannot be a parameter (class, hair-colour) is replaced by its index
        names = [f"input_{i}" if iskeyword(name) or not name.isidentifier() else name
                 for i, name in enumerate((*parts, *conditions))]  # fmt: skip
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        # torch.export takes the names of the inputs from the signature
        forward.__signature__ = Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        self.forward = forward


def trace_program(network: nn.Module, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Any:
    """Return `network` as an ExportedProgram whose inputs are the latent's parts, then the conditions, by name.

    Raises Mistake if the network's control flow depends on values, or if it treats the batch size as a constant.
    """
    # copies: a program keeps its examples, and a slice would keep the whole tensor
    inputs = [rows[torch.arange(EXAMPLES) % len(rows)] for rows in (*latent.values(), *condition.values())]
    batch = torch.export.Dim("batch", min=1)
    module = Positional(network, list(latent), list(condition))
    shapes = tuple({0: batch} for _ in inputs)
    try:
        with suppress_messages(), torch.no_grad():
            program = torch.export.export(module, tuple(inputs), dynamic_shapes=shapes)
    except Mistake:
        raise
    except Exception as error:  # the tracer passes on any exception of the network's code
        message = f"torch.export cannot trace the network: {first_line(error)}"
        if "specialized it to be a constant" in str(error):
            message = "the network uses the batch size as a constant: replace len(x) in its forward by x.shape[0]"
        elif "data-dependent" in str(error):
            message = "the network branches on the values of its inputs, and a graph has no branches"
        raise Mistake(message) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths on this machine
    return program


def save_program(program: Any, path: Path) -> None:
    """Write a torch.export program."""
    with suppress_messages():
        torch.export.save(program, path)


def load_program(path: Path) -> Callable[..., Tensor]:
    """Return the torch.export program in a file as a function of its inputs.  Raises Mistake if there is none."""
    try:
        with suppress_messages():
            module = torch.export.load(path).module()
    except Exception:  # torch raises various unrelated exceptions for a file that is not a program
        raise Mistake(f"{path} is not a torch.export program, or is from another version of torch") from None
    return module


def load_script(path: Path) -> Callable[..., Tensor]:
    """Return the TorchScript module in a file, in evaluation mode.  Raises Mistake for any other file."""
    if not _is_script(path):
        raise Mistake(
            f"{path} is not TorchScript; a pickle can run any code when it is read, so it is refused. Save the weights "
            "as safetensors (safetensors.torch.save_file(network.state_dict(), ...)) and name the class in "
            "generator.yaml"
        )
    try:
        with suppress_messages():
            return torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise Mistake(f"{path} is a broken TorchScript file: {first_line(error)}") from None


def _is_script(path: Path) -> bool:
    """Whether a file is an archive with TorchScript code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())


@contextmanager
def suppress_messages() -> Iterator[None]:
    """Suppress the warnings and log messages of torch's exporters, which are for their developers."""
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
