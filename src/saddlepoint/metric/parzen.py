"""Parzen-window log-likelihood: of the test samples x, under a Gaussian of width s about each fake Y_j, in nats.

    mean_i log( (1 / M) sum_j exp(-||x_i - Y_j||^2 / (2 s^2)) ) - d log(s sqrt(2 pi))         for d pixels in [0, 1]

(of points their coordinates, of audio its values in [-1, 1]; of tokens there is no density)

Goodfellow et al. 2014 (arXiv:1406.2661, section 5), with M = 10,000.  s is the one of ten log-spaced values from 0.1 to
1 that gives the first 1,000 validation samples the highest mean.  The deviation is the standard error over the test
samples, the population's root over sqrt(N): not over seeds.

It ranks models wrongly (Theis et al. 2016, arXiv:1511.01844): s and M alone move it by tens of nats, and
k-means centroids beat the training images that they are means of.  Both are its anchors, and no figure stands without
them.  The sets that other metrics have as anchors are not: "real" holds the very test images.
"""

import math
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike, SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.modality import Modality, modality_of
from saddlepoint.stream import Stream, derive_seed

ROWS = 500  # samples at once: 40 MB of distances to 10,000 centres
PUBLISHED = 10_000  # centres
NEEDED = ("train", "validation", "test")
LLOYD = 5  # rounds of k-means, far from its end: with 10,000 centroids of MNIST a round takes 15 s on one core


def log_likelihood(x: Tensor, centres: Tensor, widths: Tensor) -> Tensor:
    """Each x's log-density, [N, S], float64, nats, under the centres [M, d]; for x [N, d] and widths [S] > 0."""
    centres, widths = centres.to(torch.float64), widths.to(torch.float64)
    shift = centres.mean(0)  # the matrix product below loses the digits that the mean takes
    centres = centres - shift
    squares = centres.square().sum(1)
    constant = math.log(len(centres)) + centres.shape[1] * (widths.log() + 0.5 * math.log(2 * math.pi))
    found = []
    for part in x.split(ROWS):
        own = part.to(torch.float64) - shift
        distance = torch.addmm(squares, own, centres.T, alpha=-2).add_(own.square().sum(1, keepdim=True)).clamp_(min=0)
        found.append(torch.stack([torch.logsumexp(distance / (-2 * s * s), 1) for s in widths.tolist()], 1))
    return torch.cat(found) - constant


def best_width(validation: Tensor, centres: Tensor, widths: Tensor) -> Tensor:
    """The width, a float64 scalar, of the highest mean log-likelihood of `validation`; of equals the smaller."""
    return widths.to(torch.float64)[log_likelihood(validation, centres, widths).mean(0).argmax()]


class Parzen(Metric):
    """The log-likelihood of the data's test split, whatever split the other metrics measure against."""

    higher_is_better = True
    needs_reals = False
    needs_features = False
    uses_anchor_sets = False

    def __init__(
        self,
        sigmas: int = 10,
        low: float = 0.1,
        high: float = 1.0,
        validation: int = 1000,
        test: int | None = None,
        centroids: int | None = None,
    ) -> None:
        """`sigmas` widths from `low` to `high`; `validation` and `test` samples, None: all; as many k-means centroids
        in the anchor as `centroids`, None: as there are fakes, 0: no such anchor."""
        super().__init__()
        if sigmas < 1 or not 0 < low <= high:
            raise Mistake(f"parzen tries {sigmas} widths from {low} to {high}: say sigmas >= 1 and 0 < low <= high.")
        if validation < 1 or (test is not None and test < 1):
            raise Mistake(f"parzen cannot measure {validation} validation and {test} test samples: 1 at least.")
        self.sigmas, self.low, self.high, self.centroids = sigmas, low, high, centroids
        self.limits = {"validation": validation, "test": test}
        self._parts: dict[str, SplitLike] = {}
        self._modality: Modality | None = None
        self.declare_states("fake")

    def setup(self, data: DataLike) -> str | None:
        """Takes the splits; those of a folder are read only when a score is computed."""
        self._parts = {}
        sizes, self._modality = data.describe()["sizes"], modality_of(data)
        if not self._modality.ordered:
            return f"it measures a density, and {self._modality.name} have none; what compares features measures them"
        if missing := [name for name in NEEDED if not sizes.get(name)]:
            return f"it takes the splits {', '.join(NEEDED)}, and the data have no {' and no '.join(missing)}"
        self._parts = {name: data.split(name) for name in NEEDED}
        return None

    def update(self, features: Features, real: bool) -> None:
        if features.x is None:
            raise ValueError("a Parzen window stands on samples, and these features came without")
        if not real:
            self.append_rows("fake", features.x)

    def compute(self) -> Result:
        """Mean, standard error, and the width in the detail; ValueError where `meet` has seen no data."""
        return self._result(self._unit(self.all_rows("fake")))

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {
            "sigmas": self.sigmas,
            "low": self.low,
            "high": self.high,
            **{f"n_{name}": self._size(name) for name in self.limits},
            **{name: self._parts[name].sha256 if self._parts else None for name in self.limits},
            "std": "standard error over test samples",
        }

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._parts else "it takes a data set, with its validation and test splits, and got one split"

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        if n_fake == PUBLISHED:
            return None
        return f"published figures have {PUBLISHED:,} centres, and these {n_fake:,} give another number"

    def anchor_settings(self) -> dict[str, Any]:
        return {"centroids": self.centroids}

    def anchor_values(self, n: int) -> dict[str, Any]:
        """So many training samples as centres, or all, and as many centroids of all of them, fewer than they are."""
        train = self._parts["train"]
        order = torch.randperm(len(train), generator=Stream(0, "parzen/training images").generator)
        chosen = self._unit(train[order[:n].sort().values][0].to(self.device))
        found = {"training images": self._result(chosen)}
        k = n if self.centroids is None else self.centroids
        if 0 < k < len(train):
            # 4 bytes a pixel for all training samples: 160 MB of MNIST's
            every = torch.cat([self._unit(x, torch.float32) for x, _ in train.batches(ROWS)])
            found["k-means"] = self._result(k_means(every, k).to(self.device))
        return found

    def _result(self, centres: Tensor) -> Result:
        widths = self.widths.to(self.device)
        sigma = best_width(torch.cat(list(self._samples("validation"))), centres, widths)
        each = torch.cat([log_likelihood(x, centres, sigma[None])[:, 0] for x in self._samples("test")])
        edge = bool((sigma == widths[0]) | (sigma == widths[-1])) and len(widths) > 1
        detail: dict[str, Any] = {"sigma": sigma.item(), "edge": edge, "centres": len(centres)}
        if edge:
            side = "metric.parzen.low" if sigma == widths[0] else "metric.parzen.high"
            detail["note"] = f"sigma {sigma.item():.3g} is at the grid's edge, so another may be better: widen {side}"
        return Result(each.mean(), each.std(correction=0) / len(each) ** 0.5, detail, n=len(centres))

    @property
    def widths(self) -> Tensor:
        """The widths that are tried, [S], float64, ascending."""
        return torch.logspace(math.log10(self.low), math.log10(self.high), self.sigmas, dtype=torch.float64)

    def _size(self, name: str) -> int | None:
        if not self._parts:
            return self.limits[name]
        return min(len(self._parts[name]), self.limits[name] or len(self._parts[name]))

    def _samples(self, name: str) -> Iterable[Tensor]:
        """The split's first samples, as many as are taken, block by block, [<= ROWS, d], float64."""
        for index in torch.arange(self._size(name) or 0).split(ROWS):
            yield self._unit(self._parts[name][index][0].to(self.device))

    def _unit(self, x: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """Stored x, [n, d], pixels in [0, 1]."""
        if self._modality is None:
            raise ValueError("a Parzen window takes the data's validation and test splits: call meet first")
        return self._modality.to_density_units(x, dtype).flatten(1)


def k_means(x: Tensor, k: int) -> Tensor:
    """Means [k, d] of float32 x [N, d], k < N: so many of x, drawn, and then `LLOYD` rounds of Lloyd's algorithm."""
    from sklearn.cluster import KMeans  # half a second, for this anchor alone

    seed = derive_seed(0, "parzen/k-means") % 2**32
    # n_init="auto" is one start where the first centres are drawn
    lloyd = KMeans(k, init="random", n_init="auto", max_iter=LLOYD, tol=0, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of repeated samples it finds fewer distinct means, and says so
        found = lloyd.fit(x.cpu().numpy())
    return torch.from_numpy(found.cluster_centers_)
