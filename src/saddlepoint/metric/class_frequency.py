"""How often each class is made: which groups a model drops.

    total variation   1/2 sum_c |q_c - p_c|                                      in [0, 1]
    worst             min_c r_c          r_c = q_c / p_c                         0 where a class is never made
    gini              sum_c sum_d |r_c - r_d| / (2 K sum_c r_c)                  in [0, 1 - 1 / K]

p and q are the reals' and the fakes' frequencies, of the class that the extractor sees in a sample: its confusions are
on both sides.  The Gini coefficient (Gini 1912, Variabilita e mutabilita) is that of the ratios r, where each class
counts alike: a rare group that is dropped weighs as much as a frequent one, and in the total variation only its share.
Of K equal classes with one dropped, gini and total variation are both 1 / K.  Ratios are taken of the K classes of
which a perfect generator would give `least` fakes, and the reals hold as many; others would be at 0 by chance.

A perfect generator's scores are not 0, 1 and 0: each is read against its null distribution (`grouping`), in
which reals and fakes are drawn with the reals' frequencies.
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
    """What the counts of classes say, float64 [...]; nan where no class counts."""

    total_variation: Tensor
    gini: Tensor
    worst: Tensor


def class_frequency(real: Tensor, fake: Tensor, counted: Tensor) -> Frequency:
    """The three scores, float64 [...], of counts [..., K] of reals and fakes; of `counted` classes, int64 [K']."""
    n_real, n_fake = (count.sum(-1, keepdim=True).to(torch.float64) for count in (real, fake))
    p, q = real / n_real, fake / n_fake
    total_variation = (p - q).abs().sum(-1) / 2
    if not len(counted):
        return Frequency(total_variation, *[torch.full_like(total_variation, torch.nan)] * 2)
    # a counted class has a real; a null draw that has none is given one, which happens where `least` is a few
    ratio = (q / (real.clamp(min=1) / n_real))[..., counted].sort(-1).values
    k, total = len(counted), ratio.sum(-1)
    rank = torch.arange(1, k + 1, dtype=ratio.dtype, device=ratio.device)
    gini = ((2 * rank - k - 1) * ratio).sum(-1) / (k * total.clamp(min=torch.finfo(total.dtype).tiny))
    return Frequency(total_variation, gini, ratio[..., 0])


class ClassFrequency(Metric):
    """The total variation of the classes' frequencies, the Gini coefficient of their ratios, and the smallest ratio."""

    higher_is_better = False
    needs_logits: ClassVar[bool] = True
    contract_attributes = ("least", "draws", "seed")

    def __init__(self, least: int = MIN_SAMPLES, draws: int = 200, seed: int = 0) -> None:
        super().__init__()
        if least < 1:
            raise Mistake(f"least={least}: the ratio of a class takes one sample at least.")
        if draws < 1:
            raise Mistake(f"a null distribution of {draws} draws says nothing: 1 at least, and 19 for a p of 5%.")
        self.least, self.draws, self.seed = least, draws, seed
        self.declare_states("real", "fake")

    def update(self, features: Features, real: bool) -> None:
        self.append_rows("real" if real else "fake", class_counts(features))

    def compute(self) -> dict[str, Result]:
        """The total variation under the metric's own name; gini and worst, where some class counts."""
        fake = self.all_rows("fake").sum(0)
        reference = self._reference or self.reference(int(fake.sum()))
        real, counted = reference["count"], reference["counted"]
        found = class_frequency(real, fake, counted)
        null = class_frequency(reference["null_real"], reference["null_fake"], counted)
        detail = self._table(real, fake, counted)
        total = {"": Result(found.total_variation, detail={**null_comparison(found[0], null[0], False), **detail})}
        if not len(counted):
            return total
        worst = {"class": min(detail["classes"], key=lambda row: row["ratio"])["class"]}
        return total | {
            "gini": Result(found.gini, detail=null_comparison(found.gini, null.gini, False)),
            "worst": Result(found.worst, detail={**worst, **null_comparison(found.worst, null.worst, True)}),
        }

    def directions(self) -> dict[str, bool]:
        return {"": False, "gini": False, "worst": True}

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """The reals' counts [K], the classes whose ratios count [K'], and null draws of both sides' counts [R, K]."""
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

    def _table(self, real: Tensor, fake: Tensor, counted: Tensor) -> dict[str, Any]:
        """The counted classes' frequencies, in plain values; of the rare ones their number, and how much is theirs."""
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
