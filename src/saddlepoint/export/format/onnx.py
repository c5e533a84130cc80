"""A generator as ONNX: a graph of standard operators that any runtime runs, for any batch size.

Its inputs are named after the latent's parts and the conditions.  Its output is named `x`, or `sample` if an input is
named `x`.
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


def save_onnx(program: Any, path: Path, inputs: Sequence[str]) -> None:
    """Write a torch.export program as ONNX.  Raises Mistake if ONNX lacks one of its operators."""
    output = "sample" if "x" in inputs else "x"
    try:
        with suppress_messages(), contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                program, (), str(path), input_names=list(inputs), output_names=[output], dynamo=True,
                external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:  # torch.onnx, onnxscript and onnx have no common exception class
        raise Mistake(_why_not_written(error, program)) from None


def load_onnx(path: Path) -> Callable[..., Tensor]:
    """Return the graph in a file as a function of its inputs, in order.  Raises Mistake if there is none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions are not RuntimeErrors
        raise Mistake(f"{path} is not an ONNX file that onnxruntime can run: {first_line(error)}") from None
    names = [node.name for node in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        if len(inputs) != len(names):
            raise ValueError(f"it takes {', '.join(names)}, and got {len(inputs)} inputs")
        try:
            output = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})[0]
        except Exception as error:
            raise ValueError(first_line(error)) from None
        return torch.from_numpy(output)

    return run


def _why_not_written(error: BaseException, program: Any) -> str:
    """Return which operator ONNX lacks, and the layer that uses it, as far as the error contains them."""
    operator, cause = None, error
    while cause is not None and operator is None:
        operator = OPERATOR.search(str(cause))
        cause = cause.__cause__ or cause.__context__
    if operator is None:
        return f"torch.onnx cannot write the network: {first_line(error)}"
    name = operator[1].partition(".")[2]
    layer = _layer_with(program, name)
    return f"ONNX has no operator {name}" + (f", which {layer} uses" if layer else "")


def _layer_with(program: Any, operator: str) -> str | None:
    """Return the path and class of the first layer with an operator; None if the graph does not contain it.

    torch.onnx names the operator after decomposition: prims.bessel_j0 for aten.special_bessel_j0.
    """
    for node in program.graph.nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if stack and operator in str(node.target):
            path, kind = stack[-1]
            return f"{path.removeprefix('network.').removeprefix('networks.')} ({str(kind).rpartition('.')[2]})"
    return None
