"""Classes measured apart: equally many samples of each, and a score of each beside what other reals reach.

    value_c = statistic(n reals of class c, n fakes of class c)
    null_rc = statistic(n reals of class c, n other reals of class c)                 r = 1 .. R, drawn anew each time

The n is the same for every class and on both sides, as a statistic that falls with n would otherwise rank the classes
by their size.  It follows from the reals and the number of fakes, never from how many fakes a class turns out to have:
two models at one protocol are measured at one n.  A class is measured where a perfect generator would give it fakes
enough; the others are counted as rare.

Of a score and its null distribution, what it is where the fakes are as good as other reals, drawn R times,

    p = (1 + #{r : null_r at least as bad as the score}) / (R + 1)

Davison & Hinkley 1997 (Bootstrap Methods and their Application, section 4.2).  The one that is added keeps p from 0: R
draws can say 1 / (R + 1) at the least.  A maximum over classes needs it most, as it is large by chance alone.

What p says is of these reals and this extractor.  One that was trained on the reals tells held-out images from them:
real ones too have a small p then, so read p beside the anchor "real".
"""

from math import isnan
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import FeatureMetric, Result
from saddlepoint.run.storage.cache import logger
from saddlepoint.stream import Stream

QUANTILES = {"5%": 0.05, "50%": 0.5, "95%": 0.95}
LABELS = ("seen", "given")
MIN_SAMPLES = 20  # samples: with fewer a class's frequency is off by a quarter, and its distance is noise


def predicted_classes(features: Features) -> Tensor:
    """The class that the extractor sees in each sample, int64 [N]; ValueError for one that makes no predictions."""
    if features.logits is None:
        raise ValueError("classes are seen by an extractor with logits: a classifier, or Inception")
    return features.logits.argmax(1)


def class_counts(features: Features) -> Tensor:
    """How many samples the extractor sees of each class, int64 [1, K]; ValueError as `seen`."""
    return predicted_classes(features).bincount(minlength=features.logits.shape[1]).unsqueeze(0)  # pyright: ignore[reportOptionalMemberAccess]


def frequent_classes(count: Tensor, n_fake: int, least: int = MIN_SAMPLES) -> Tensor:
    """The classes with `least` reals, of which `n_fake` perfect fakes would hold as many: int64 [K'].

    `count` [K] is that of the reals.
    """
    expected = count * (n_fake / max(int(count.sum()), 1))
    return ((count >= least) & (expected >= least)).nonzero().flatten()


def equal_class_size(
    count: Tensor, n_fake: int, share: float, least: int = MIN_SAMPLES, most: int | None = None
) -> tuple[Tensor, int]:
    """The classes to be measured, int64 [K'], and n, the samples of each on either side.

    n is `share` of what `n_fake` perfect fakes would hold of the rarest of them, so that chance leaves no class short;
    `most` at most, and half of the rarest's reals, as the null draws take two disjoint sets.  `count` [K] is that of
    the reals.
    """
    size = torch.minimum(count * (share * n_fake / max(int(count.sum()), 1)), count / 2).floor().to(torch.int64)
    classes = (size >= least).nonzero().flatten()
    n = int(size[classes].min()) if len(classes) else 0
    return classes, n if most is None else min(n, most)


def draw_rows_per_class(label: Tensor, classes: Tensor, n: int, draws: torch.Generator) -> list[Tensor]:
    """The rows of each class, int64 [<= n], at random without replacement: all of a class that has n or fewer.

    One order of all rows serves every class, so that renaming classes changes no draw.
    """
    order = torch.randperm(len(label), generator=draws).to(label.device)
    ordered = label[order]
    return [order[ordered == number][:n] for number in classes.tolist()]


def p_value(observed: Tensor, null: Tensor, higher_is_better: bool) -> Tensor:
    """How often chance is as bad as `observed` [...], by null draws [R, ...]: float64 [...], in [1 / (R + 1), 1]."""
    as_bad = null <= observed if higher_is_better else null >= observed
    return (1 + as_bad.sum(0)).to(torch.float64) / (len(null) + 1)


def null_comparison(observed: Tensor, null: Tensor, higher_is_better: bool) -> dict[str, Any]:
    """A scalar read against its null draws [R], in plain values: p, the draws' mean and quantiles, their number."""
    quantiles = {name: null.quantile(q).item() for name, q in QUANTILES.items()}
    p = p_value(observed, null, higher_is_better).item()
    return {"p": p, "null": {"mean": null.mean().item(), **quantiles, "draws": len(null)}}


class PerClassMetric(FeatureMetric):
    """A metric of each class apart; a piece adds the statistic of one class, and what to say of all of them.

    Features of all samples are kept until they are measured, and n rows of each class in the reference.
    """

    contract_attributes = ("n_per_class", "share", "least", "labels", "draws", "seed")
    null_label: ClassVar[str] = "floor"  # what the mean of the null draws is called in the table

    def __init__(
        self,
        n_per_class: int | None = None,
        share: float = 0.5,
        least: int = MIN_SAMPLES,
        labels: str = "seen",
        draws: int = 20,
        seed: int = 0,
    ) -> None:
        """`n_per_class` at most; `labels`: "seen" by the extractor, or "given" by the data and asked of the fakes."""
        super().__init__()
        if labels not in LABELS:
            raise Mistake(f"labels={labels} is unknown: 'seen' by the extractor, or 'given' with the samples.")
        if not 0 < share <= 1:
            raise Mistake(f"share={share} is no part of a class's fakes: choose one in (0, 1].")
        if draws < 1:
            raise Mistake(f"a null distribution of {draws} draws says nothing: 1 at least, and 19 for a p of 5%.")
        if least < self.min_samples() or (n_per_class is not None and n_per_class < self.min_samples()):
            raise Mistake(f"a class is measured on {self.min_samples()} samples at least: raise least and n_per_class.")
        self.n_per_class, self.share, self.least, self.labels = n_per_class, share, least, labels
        self.draws, self.seed = draws, seed
        self.needs_logits, self.needs_labels = labels == "seen", labels == "given"  # pyright: ignore[reportAttributeAccessIssue]
        self._said = False
        self.declare_states("real_label", "fake_label")

    def min_samples(self) -> int:
        """The fewest samples of a class that the statistic can be had of."""
        return 2

    def statistic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The score of one class, a float64 scalar, by real [n, d] and fake [<= n, d]; nan where it has none."""
        raise NotImplementedError

    def setup(self, data: DataLike) -> str | None:
        if self.labels == "given" and data.classes is None:
            return "labels=given takes the classes of labelled data, and these have none"
        return None

    def update(self, features: Features, real: bool) -> None:
        label = features.y if self.labels == "given" else predicted_classes(features)
        if label is None:
            raise ValueError("labels=given takes samples with their classes, and these have none")
        super().update(features, real)
        self.append_rows("real_label" if real else "fake_label", label)

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        if (most := self.max_samples_per_class(n_real, n_fake, 1)) >= self.least:
            return None
        return f"it takes {self.least} samples of a class, and {n_fake} against {n_real} leave {most} at the most"

    def max_samples_per_class(self, n_real: int, n_fake: int, classes: int) -> int:
        """The samples of a class, were all of `classes` classes equally frequent."""
        return min(int(self.share * n_fake / classes), n_real // classes // 2)

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """classes [K'], n reals of each [K', n, d], their null draws [R, K'], and the reals of all classes [K]."""
        x, label = self.all_rows("real"), self.all_rows("real_label")
        count = label.bincount()
        classes, n = equal_class_size(count, n_fake, self.share, self.least, self.n_per_class)
        rows = draw_rows_per_class(label, classes, n, Stream(self.seed, "class/real").generator)
        real = torch.stack([x[row] for row in rows]) if rows else x.new_empty(0, 0, x.shape[1])
        stream = Stream(self.seed, "class/null").generator
        null = x.new_empty(self.draws, len(classes), dtype=torch.float64)
        for draw in range(self.draws):
            for index, row in enumerate(draw_rows_per_class(label, classes, 2 * n, stream)):
                null[draw, index] = self.statistic(x[row[:n]], x[row[n:]])
        return {"classes": classes, "real": real, "null": null, "count": count}

    def class_table(self, value: Tensor, reference: dict[str, Tensor], fakes: list[int]) -> dict[str, Any]:
        """What is known of each class, in plain values; the part of the reals that is of no class of these is rare."""
        p = p_value(value, reference["null"], bool(self.higher_is_better))
        columns = (reference["classes"], value, reference["null"].mean(0), p)
        rows = [
            {"class": name, "fakes": m} | ({} if isnan(v) else {"value": v, self.null_label: f, "p": p})
            for name, v, f, p, m in zip(*(column.tolist() for column in columns), fakes, strict=True)
        ]
        count = reference["count"]
        measured = count[reference["classes"]]
        return {
            "n": reference["real"].shape[1],
            "classes": rows,
            "rare": {"classes": int((count > 0).sum()) - len(rows), "reals": int(count.sum() - measured.sum())},
        }

    def class_values(self) -> tuple[Tensor, dict[str, Tensor], list[int]]:
        """The value of each class [K'], nan where there is none; the reference; and how many fakes each class has."""
        x, label = self.all_rows("fake"), self.all_rows("fake_label")
        reference = self._reference or self.reference(len(x))
        classes, real = reference["classes"], reference["real"]
        if not len(classes) and not self._said:
            self._said = True
            logger.warning(
                "no class can be measured apart: of %d samples each holds too few; raise n, or lower least.", len(x)
            )
        rows = draw_rows_per_class(label, classes, real.shape[1], Stream(self.seed, "class/fake").generator)
        value = x.new_empty(len(classes), dtype=torch.float64)
        for index, row in enumerate(rows):
            value[index] = self.statistic(real[index], x[row])
        return value, reference, [int((label == number).sum()) for number in classes.tolist()]

    def mean_and_worst(self, value: Tensor, reference: dict[str, Tensor], detail: dict[str, Any]) -> dict[str, Result]:
        """The mean over classes, with `detail`, and the worst, each read against its null distribution."""
        higher, null = bool(self.higher_is_better), reference["null"]
        name, worst, null_worst = (
            ("min", value.min(), null.min(1).values) if higher else ("max", value.max(), null.max(1).values)
        )
        at = int(value.argmin() if higher else value.argmax())
        which = {"class": int(reference["classes"][at])}
        return {
            "mean": Result(value.mean(), detail={**null_comparison(value.mean(), null.mean(1), higher), **detail}),
            name: Result(worst, detail={**which, **null_comparison(worst, null_worst, higher)}),
        }
