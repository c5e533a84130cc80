"""A generator as ONNX: a graph of standard operators that any runtime runs.  Any batch size, one included.

Its inputs have the names of the latent's parts and of the conditions; its output is `x`, or `sample` where an input is
called so.
"""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake, first_line
from saddlepoint.export.format.program import suppress_messages

FILE = "generator.onnx"
OPERATOR = re.compile(r"op='([\w.]+)'")


def save_onnx(found: Any, path: Path, inputs: Sequence[str]) -> None:
    """Write a program of torch.export as ONNX.  Raises Mistake for an operator that ONNX does not have."""
    output = "sample" if "x" in inputs else "x"
    try:
        with suppress_messages(), contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                found, (), str(path), input_names=list(inputs), output_names=[output], dynamo=True, external_data=False,
                verbose=False,
            )  # fmt: skip
    except Exception as error:  # of torch.onnx, onnxscript, onnx: none has a common kind
        raise Mistake(_obstacle(error, found)) from None


def load_onnx(path: Path) -> Callable[..., Tensor]:
    """The graph in a file, as a function of its inputs in their order.  Raises Mistake where it is none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's are no kind of RuntimeError
        raise Mistake(f"{path} is no ONNX file that onnxruntime can run: {first_line(error)}") from None
    names = [wanted.name for wanted in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        if len(inputs) != len(names):
            raise ValueError(f"it takes {', '.join(names)}, and is given {len(inputs)}")
        try:
            found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})[0]
        except Exception as error:
            raise ValueError(first_line(error)) from None
        return torch.from_numpy(found)

    return run


def _obstacle(error: BaseException, found: Any) -> str:
    """Which operator ONNX lacks, and the layer that asks for it, as far as the error says so."""
    operator, link = None, error
    while link is not None and operator is None:
        operator = OPERATOR.search(str(link))
        link = link.__cause__ or link.__context__
    if operator is None:
        return f"torch.onnx cannot write the network: {first_line(error)}"
    name = operator[1].partition(".")[2]
    layer = _asking(found, name)
    return f"ONNX has no operator {name}" + (f", which {layer} asks for" if layer else "")


def _asking(found: Any, operator: str) -> str | None:
    """The path and class of the first layer with such an operator; None where the graph does not say.

    torch.onnx names what is left when it has taken operators apart: prims.bessel_j0 of aten.special_bessel_j0.
    """
    for node in found.graph.nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if stack and operator in str(node.target):
            path, kind = stack[-1]
            return f"{path.removeprefix('network.').removeprefix('networks.')} ({str(kind).rpartition('.')[2]})"
    return None
