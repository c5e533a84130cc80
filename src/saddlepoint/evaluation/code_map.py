"""Maps from the values of a categorical code to classes, fitted on one confusion matrix and scored on another."""

from typing import NamedTuple

import torch
from torch import Tensor


class CodeMap(NamedTuple):
    """A class for each value of a code, int64 [codes]; -1: none."""

    classes: Tensor

    def accuracy(self, confusion: Tensor) -> float:
        """Return the share of samples, counted in `confusion` [codes, classes], that the map assigns their class."""
        mapped = (self.classes >= 0).nonzero().flatten()
        return int(confusion[mapped, self.classes[mapped]].sum()) / max(int(confusion.sum()), 1)


def confusion(code: Tensor, label: Tensor, codes: int, classes: int) -> Tensor:
    """Return how often each value of the code [N] meets each class [N], int64 [codes, classes]."""
    return (code * classes + label).bincount(minlength=codes * classes).view(codes, classes)


def one_to_one(confusion: Tensor) -> CodeMap:
    """Return the one-to-one map with most agreements, by the Hungarian method (Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment  # imported here: it takes 0.3 s

    rows, columns = linear_sum_assignment(confusion.numpy(), maximize=True)
    classes = torch.full((len(confusion),), -1)
    classes[torch.as_tensor(rows)] = torch.as_tensor(columns)
    return CodeMap(classes)


def majority(confusion: Tensor) -> CodeMap:
    """Return the map of each value to its most frequent class; on the same matrix never worse than `one_to_one`."""
    return CodeMap(confusion.argmax(1))
