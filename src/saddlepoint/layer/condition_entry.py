"""What a layer reads off the condition: an entry by name, or a class label."""

import torch
from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.turn import Condition


def condition_entry(condition: Condition, name: str, layer: str) -> Tensor:
    """condition[name].  Raises Mistake where there is no such entry."""
    if name not in condition:
        raise Mistake(
            f"{layer} reads the condition {name}, and the condition here has {', '.join(condition) or 'no entries'}."
            f"{did_you_mean(name, condition)} game=conditional gives label; game.sides.<side>.condition names others"
        )
    return condition[name]


def class_labels(condition: Condition, name: str, classes: int, layer: str) -> Tensor:
    """condition[name] as class labels, [N] of {0, ..., classes - 1}.

    Raises Mistake where the entry is not of that kind; the range is checked on a CPU alone, as an accelerator would
    have to be waited for.
    """
    label = condition_entry(condition, name, layer)
    if label.ndim != 1 or label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
        raise Mistake(
            f"{layer} reads the condition {name} as class labels, integers of shape [N], and it is {label.dtype} of "
            f"shape {list(label.shape)}"
        )
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if not traced and label.numel() and label.device.type == "cpu":
        low, high = (int(bound) for bound in label.aminmax())
        if low < 0 or high >= classes:
            raise Mistake(
                f"{layer} has {classes} classes, counted from 0 on, and the condition {name} goes from {low} to {high}"
            )
    return label
