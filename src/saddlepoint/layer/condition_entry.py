"""Entries of a condition for layers: by name, or as class labels."""

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.turn import Condition


def condition_entry(condition: Condition, name: str, layer: str) -> Tensor:
    """Return condition[name].  Raises Mistake if there is no such entry."""
    if name not in condition:
        raise Mistake(
            f"{layer} reads the condition {name}, but the condition has {', '.join(condition) or 'no entries'}."
            f"{did_you_mean(name, condition)} game=conditional adds label; game.sides.<side>.condition adds others"
        )
    return condition[name]


def augmentation_numbers(condition: Condition, x: Tensor, needed: int, layer: str) -> Tensor:
    """Return condition["numbers"], [N, at least `needed`].  Raises Mistake if it has too few columns, or not N rows."""
    numbers = condition_entry(condition, "numbers", layer)
    if numbers.shape[1] < needed:
        raise Mistake(
            f"{layer} needs {needed} numbers per sample of shape {list(x.shape[1:])}, but its draw has "
            f"{numbers.shape[1]}: set its dim to {needed} (game.draws.<draw>.z.dim)"
        )
    if len(numbers) != len(x):
        raise Mistake(
            f"{layer} has numbers for {len(numbers)} samples, but there are {len(x)}: a draw has a row per image of "
            "the batch, so set data.labelled_batch to at most batch, or to a multiple of it"
        )
    return numbers


def class_labels(condition: Condition, name: str, classes: int, layer: str) -> Tensor:
    """Return condition[name] as class labels, [N] of {0, ..., classes - 1}.

    Raises Mistake if the entry is missing or has no class labels. The range is checked only on a CPU: on an accelerator
    the check would force a synchronisation, and vmap (per-sample gradients) has no values to check.
    """
    label = condition_entry(condition, name, layer)
    if label.ndim != 1 or label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
        raise Mistake(
            f"{layer} reads the condition {name} as class labels, integers of shape [N], but it is {label.dtype} of "
            f"shape {list(label.shape)}"
        )
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if not traced and label.numel() and label.device.type == "cpu" and not is_functorch_wrapped_tensor(label):
        low, high = (int(bound) for bound in label.aminmax())
        if low < 0 or high >= classes:
            raise Mistake(
                f"{layer} has {classes} classes, numbered from 0, but the condition {name} ranges from {low} to {high}"
            )
    return label
