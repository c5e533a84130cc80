"""Inception score: exp E_x KL(p(y|x) || p(y)), the mean over parts of the fakes.

Salimans et al. 2016 (arXiv:1606.03498, section 4).  As in the authors' code: 10 parts in the given order, p(y) of each
part, mean and population standard deviation over the parts (not over seeds or runs).  It is 1 if all predictions are
equal, and K if K classes are equally frequent and predicted with certainty.  Fakes that are ordered by class would
score near 1: shuffle them.
"""

from typing import ClassVar

import torch
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric


def inception_score(logits: Tensor, splits: int = 10) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over `splits` parts of logits [N, K], float64.  Raises ValueError if N < splits."""
    n = len(logits)
    if n < splits:
        raise ValueError(f"an inception score over {splits} parts needs {splits} samples, and has {n}: lower splits")
    log_p = logits.to(torch.float64).log_softmax(1)
    # the sizes of the parts differ by one if `splits` does not divide n, as in torch-fidelity
    parts = [log_p[i * n // splits : (i + 1) * n // splits].exp() for i in range(splits)]
    # xlogy: a class of probability 0 adds 0, not 0 * -inf
    divergences = [(torch.special.xlogy(p, p) - torch.special.xlogy(p, p.mean(0))).sum(1).mean() for p in parts]
    scores = torch.stack(divergences).exp()
    return scores.mean(), scores.std(correction=0)


class InceptionScore(Metric):
    """Inception score of the logits of the fakes; does not use the reals."""

    higher_is_better = True
    needs_logits: ClassVar[bool] = True
    needs_reals: ClassVar[bool] = False
    contract_attributes = ("splits",)

    def __init__(self, splits: int = 10) -> None:
        super().__init__()
        self.splits = splits
        self.declare_states("logits")

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.logits is None:
            raise ValueError("an inception score needs an extractor with logits: a classifier, or Inception")
        self.append_rows("logits", features.logits)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation over the parts."""
        return inception_score(self.all_rows("logits"), self.splits)

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return f"{self.splits} parts need as many samples, and there are {n_fake}" if n_fake < self.splits else None
