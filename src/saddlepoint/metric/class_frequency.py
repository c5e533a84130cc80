"""How often each class is generated: shows which classes a model drops.

    total variation   1/2 sum_c |q_c - p_c|                                      in [0, 1]
    worst             min_c r_c          r_c = q_c / p_c                         0 if a class is never generated
    gini              sum_c sum_d |r_c - r_d| / (2 K sum_c r_c)                  in [0, 1 - 1 / K]

p and q are the frequencies of the reals and of the fakes.  A sample's class is the one that the extractor predicts, so
its errors affect both sides.  The Gini coefficient (Gini 1912, Variabilita e mutabilita) is that of the ratios r, in
which all classes have equal weight: dropping a rare class costs as much as dropping a frequent one, while the total
variation weighs a class by its frequency.  If one of K equal classes is dropped, gini and total variation are both
1 / K.  Ratios are taken only of the K classes that have `least` reals or more, and of which a perfect generator would
give `least` fakes or more; the ratio of a rarer class could be 0 by chance.

A perfect generator does not score exactly 0, 1 and 0, so each score is reported with its null distribution
(`per_class`), in which reals and fakes are drawn with the frequencies of the reals.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.per_class import MIN_SAMPLES, class_counts, frequent_classes, null_comparison
from saddlepoint.stream import derive_seed


class Frequency(NamedTuple):
    """The three scores, float64 [...]; gini and worst are nan if no class has a ratio."""

    total_variation: Tensor
    gini: Tensor
    worst: Tensor


def class_frequency(real: Tensor, fake: Tensor, counted: Tensor) -> Frequency:
    """The three scores of the counts [..., K] of reals and fakes, with ratios of the classes `counted`, int64 [K']."""
    n_real, n_fake = (count.sum(-1, keepdim=True).to(torch.float64) for count in (real, fake))
    p, q = real / n_real, fake / n_fake
    total_variation = (p - q).abs().sum(-1) / 2
    if not len(counted):
        return Frequency(total_variation, *[torch.full_like(total_variation, torch.nan)] * 2)
    # a counted class has a real; a null draw without one, which is possible if `least` is small, counts as having one
    ratio = (q / (real.clamp(min=1) / n_real))[..., counted].sort(-1).values
    k, total = len(counted), ratio.sum(-1)
    rank = torch.arange(1, k + 1, dtype=ratio.dtype, device=ratio.device)
    gini = ((2 * rank - k - 1) * ratio).sum(-1) / (k * total.clamp(min=torch.finfo(total.dtype).tiny))
    return Frequency(total_variation, gini, ratio[..., 0])


class ClassFrequency(Metric):
    """Total variation of the class frequencies, Gini coefficient of their ratios, and the smallest ratio."""

    higher_is_better = False
    needs_logits: ClassVar[bool] = True
    contract_attributes = ("least", "draws", "seed")

    def __init__(self, least: int = MIN_SAMPLES, draws: int = 200, seed: int = 0) -> None:
        super().__init__()
        if least < 1:
            raise Mistake(f"least={least}: the ratio of a class needs at least 1 sample.")
        if draws < 1:
            raise Mistake(f"draws={draws}: a null distribution needs at least 1 draw, and at least 19 for a p of 5%.")
        self.least, self.draws, self.seed = least, draws, seed
        self.declare_states("real", "fake")

    def update(self, features: Features, real: bool) -> None:
        self.append_rows("real" if real else "fake", class_counts(features))

    def compute(self) -> dict[str, Result]:
        """Return "", the total variation, and "gini" and "worst" if any class has a ratio."""
        fake = self.all_rows("fake").sum(0)
        reference = self._reference or self.reference(int(fake.sum()))
        real, counted = reference["count"], reference["counted"]
        frequency = class_frequency(real, fake, counted)
        null = class_frequency(reference["null_real"], reference["null_fake"], counted)
        detail = self._frequency_details(real, fake, counted)
        total_detail = {**null_comparison(frequency.total_variation, null.total_variation, False), **detail}
        total = {"": Result(frequency.total_variation, detail=total_detail)}
        if not len(counted):
            return total
        worst = {"class": min(detail["classes"], key=lambda row: row["ratio"])["class"]}
        return total | {
            "gini": Result(frequency.gini, detail=null_comparison(frequency.gini, null.gini, False)),
            "worst": Result(frequency.worst, detail={**worst, **null_comparison(frequency.worst, null.worst, True)}),
        }

    def directions(self) -> dict[str, bool]:
        return {"": False, "gini": False, "worst": True}

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return the reals' counts [K], the classes that have a ratio [K'], and null counts of both sides [R, K]."""
        count = self.all_rows("real").sum(0)
        p = count.cpu().to(torch.float64) / count.sum().item()
        draws = np.random.default_rng(derive_seed(self.seed, "class_frequency"))
        real, fake = (draws.multinomial(n, p.numpy(), self.draws) for n in (int(count.sum()), n_fake))
        return {
            "count": count,
            "counted": frequent_classes(count, n_fake, self.least),
            "null_real": torch.from_numpy(real).to(count.device),
            "null_fake": torch.from_numpy(fake).to(count.device),
        }

    def _frequency_details(self, real: Tensor, fake: Tensor, counted: Tensor) -> dict[str, Any]:
        """Frequencies of the counted classes, and the number and total frequency of the rare ones; plain values."""
        p, q = (count.to(torch.float64) / count.sum() for count in (real, fake))
        rows = [
            {"class": number, "real": p[number].item(), "fake": q[number].item(), "ratio": (q / p)[number].item()}
            for number in counted.tolist()
        ]
        rare = {
            "classes": int(((real > 0) | (fake > 0)).sum()) - len(rows),
            "real": ((real.sum() - real[counted].sum()) / real.sum()).item(),
            "fake": ((fake.sum() - fake[counted].sum()) / fake.sum()).item(),
        }
        return {"classes": rows, "rare": rare}
