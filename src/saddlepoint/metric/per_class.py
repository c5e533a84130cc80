"""Metrics of single classes: equally many samples of each class, and each score compared with what reals reach.

    value_c = statistic(n reals of class c, n fakes of class c)
    null_rc = statistic(n reals of class c, n other reals of class c)                 r = 1 .. R, new draws each time

n is the same for every class and on both sides; otherwise a statistic that decreases with n would rank the classes by
their size.  It depends on the reals and on the number of fakes, but not on how many fakes of a class there are, so two
models under one protocol are measured at the same n.  A class is measured if a perfect generator would give it enough
fakes; the others are counted as rare.

The null distribution is that of the score of other reals in place of the fakes, drawn R times:

    p = (1 + #{r : null_r at least as bad as the score}) / (R + 1)

Davison & Hinkley 1997 (Bootstrap Methods and their Application, section 4.2).  The added one keeps p above 0: with R
draws p is at least 1 / (R + 1).  A maximum over classes needs the comparison most, as it is large by chance alone.

p holds for these reals and this extractor.  An extractor trained on the reals separates them from held-out images, so
real images also have a small p then; compare p with that of the anchor "real".
"""

from math import isnan
from typing import Any

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
MIN_SAMPLES = 20  # of a class: with fewer its frequency is off by a quarter, and its distance is noise


def predicted_classes(features: Features) -> Tensor:
    """Return the class that the extractor predicts for each sample, int64 [N].  Raises ValueError without logits."""
    if features.logits is None:
        raise ValueError("predicted classes need an extractor with logits: a classifier, or Inception")
    return features.logits.argmax(1)


def class_counts(features: Features) -> Tensor:
    """Return the number of samples predicted to be of each class, int64 [1, K].  Raises ValueError without logits."""
    return predicted_classes(features).bincount(minlength=features.logits.shape[1]).unsqueeze(0)  # pyright: ignore[reportOptionalMemberAccess]


def frequent_classes(count: Tensor, n_fake: int, least: int = MIN_SAMPLES) -> Tensor:
    """Return the classes, int64 [K'], with `least` of the reals, `count` [K], and of `n_fake` perfect fakes."""
    expected = count * (n_fake / max(int(count.sum()), 1))
    return ((count >= least) & (expected >= least)).nonzero().flatten()


def choose_equal_classes(
    count: Tensor, n_fake: int, share: float, least: int = MIN_SAMPLES, most: int | None = None
) -> tuple[Tensor, int]:
    """Return the classes to measure, int64 [K'], and n, the number of samples of each class on either side.

    n is the fraction `share` of the fakes that a perfect generator would make of the rarest measured class, so that no
    class falls short by chance.  It is at most `most`, and at most half of that class's reals, because null draws need
    two disjoint sets.  `count` [K] holds the numbers of reals.
    """
    size = torch.minimum(count * (share * n_fake / max(int(count.sum()), 1)), count / 2).floor().to(torch.int64)
    classes = (size >= least).nonzero().flatten()
    n = int(size[classes].min()) if len(classes) else 0
    return classes, n if most is None else min(n, most)


def draw_rows_per_class(label: Tensor, classes: Tensor, n: int, draws: torch.Generator) -> list[Tensor]:
    """Draw n rows of each class without replacement, or all rows of a class that has fewer; int64 [<= n] each.

    One permutation of all rows serves every class, so renaming classes does not change a draw.
    """
    order = torch.randperm(len(label), generator=draws).to(label.device)
    ordered = label[order]
    return [order[ordered == number][:n] for number in classes.tolist()]


def p_value(observed: Tensor, null: Tensor, higher_is_better: bool) -> Tensor:
    """Return the fraction of null draws [R, ...] as bad as `observed` [...]: float64 [...], in [1 / (R + 1), 1]."""
    as_bad = null <= observed if higher_is_better else null >= observed
    return (1 + as_bad.sum(0)).to(torch.float64) / (len(null) + 1)


def null_comparison(observed: Tensor, null: Tensor, higher_is_better: bool) -> dict[str, Any]:
    """Compare a scalar with its null draws [R]: p, and the mean, quantiles and number of the draws; plain values."""
    quantiles = {name: null.quantile(q).item() for name, q in QUANTILES.items()}
    p = p_value(observed, null, higher_is_better).item()
    return {"p": p, "null": {"mean": null.mean().item(), **quantiles, "draws": len(null)}}


class PerClassMetric(FeatureMetric):
    """A metric computed for each class.  Subclasses define `statistic`, the score of one class, and `compute`.

    Keeps the features of all samples until `compute`; its reference holds n rows of each class.
    """

    contract_attributes = ("n_per_class", "share", "least", "labels", "draws", "seed")

    def __init__(
        self,
        n_per_class: int | None = None,
        share: float = 0.5,
        least: int = MIN_SAMPLES,
        labels: str = "seen",
        draws: int = 20,
        seed: int = 0,
    ) -> None:
        """`n_per_class`: upper bound of n; `labels`: "seen", as predicted, or "given" with reals and fakes."""
        super().__init__()
        if labels not in LABELS:
            raise Mistake(
                f"labels={labels} is unknown: 'seen' (predicted by the extractor) or 'given' (with the samples)."
            )
        if not 0 < share <= 1:
            raise Mistake(f"share={share} is not a fraction of a class's fakes: choose one in (0, 1].")
        if draws < 1:
            raise Mistake(f"draws={draws}: a null distribution needs at least 1 draw, and at least 19 for a p of 5%.")
        if least < self.min_samples() or (n_per_class is not None and n_per_class < self.min_samples()):
            raise Mistake(f"a class needs at least {self.min_samples()} samples: raise least and n_per_class.")
        self.n_per_class, self.share, self.least, self.labels = n_per_class, share, least, labels
        self.draws, self.seed = draws, seed
        self.needs_logits, self.needs_labels = labels == "seen", labels == "given"  # pyright: ignore[reportAttributeAccessIssue]
        self._warned = False
        self.declare_states("real_label", "fake_label")

    def min_samples(self) -> int:
        """Return the smallest number of samples of a class that the statistic accepts."""
        return 2

    def statistic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the score of one class, a float64 scalar, from real [n, d] and fake [<= n, d]; nan if undefined."""
        raise NotImplementedError

    def setup(self, data: DataLike) -> str | None:
        if self.labels == "given" and data.classes is None:
            return "labels=given needs labelled data, and these have no labels"
        return None

    def update(self, features: Features, real: bool) -> None:
        label = features.y if self.labels == "given" else predicted_classes(features)
        if label is None:
            raise ValueError("labels=given needs samples with their classes, and these have none")
        super().update(features, real)
        self.append_rows("real_label" if real else "fake_label", label)

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        if (most := self.max_samples_per_class(n_real, n_fake, 1)) >= self.least:
            return None
        return f"it needs {self.least} samples per class, and {n_fake} fakes and {n_real} reals give at most {most}"

    def max_samples_per_class(self, n_real: int, n_fake: int, classes: int) -> int:
        """Return the number of samples per class if all of `classes` classes were equally frequent."""
        return min(int(self.share * n_fake / classes), n_real // classes // 2)

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return classes [K'], n reals of each [K', n, d], null draws [R, K'], and the reals of all classes [K]."""
        x, label = self.all_rows("real"), self.all_rows("real_label")
        count = label.bincount()
        classes, n = choose_equal_classes(count, n_fake, self.share, self.least, self.n_per_class)
        rows = draw_rows_per_class(label, classes, n, Stream(self.seed, "class/real").generator)
        real = torch.stack([x[row] for row in rows]) if rows else x.new_empty(0, 0, x.shape[1])
        stream = Stream(self.seed, "class/null").generator
        null = x.new_empty(self.draws, len(classes), dtype=torch.float64)
        for draw in range(self.draws):
            for index, row in enumerate(draw_rows_per_class(label, classes, 2 * n, stream)):
                null[draw, index] = self.statistic(x[row[:n]], x[row[n:]])
        return {"classes": classes, "real": real, "null": null, "count": count}

    def class_table(self, value: Tensor, reference: dict[str, Tensor], fakes: list[int]) -> dict[str, Any]:
        """Return the results of each class, and the numbers of rare classes and of their reals; plain values."""
        p = p_value(value, reference["null"], bool(self.higher_is_better))
        columns = (reference["classes"], value, reference["null"].mean(0), p)
        rows = [
            {"class": name, "fakes": m} | ({} if isnan(v) else {"value": v, "expected": f, "p": p})
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
        """Return the value of each class [K'] (nan if undefined), the reference, and the fakes of each class."""
        x, label = self.all_rows("fake"), self.all_rows("fake_label")
        reference = self._reference or self.reference(len(x))
        classes, real = reference["classes"], reference["real"]
        if not len(classes) and not self._warned:
            self._warned = True
            logger.warning(
                "no class can be measured: of %d samples each class has too few; raise n, or lower least.", len(x)
            )
        rows = draw_rows_per_class(label, classes, real.shape[1], Stream(self.seed, "class/fake").generator)
        value = x.new_empty(len(classes), dtype=torch.float64)
        for index, row in enumerate(rows):
            value[index] = self.statistic(real[index], x[row])
        return value, reference, [int((label == number).sum()) for number in classes.tolist()]

    def mean_and_worst(self, value: Tensor, reference: dict[str, Tensor], detail: dict[str, Any]) -> dict[str, Result]:
        """Return the mean, with `detail`, and the worst over classes, each compared with its null distribution."""
        higher, null = bool(self.higher_is_better), reference["null"]
        name, worst, null_worst = (
            ("min", value.min(), null.min(1).values) if higher else ("max", value.max(), null.max(1).values)
        )
        worst_index = int(value.argmin() if higher else value.argmax())
        worst_class = {"class": int(reference["classes"][worst_index])}
        return {
            "mean": Result(value.mean(), detail={**null_comparison(value.mean(), null.mean(1), higher), **detail}),
            name: Result(worst, detail={**worst_class, **null_comparison(worst, null_worst, higher)}),
        }
