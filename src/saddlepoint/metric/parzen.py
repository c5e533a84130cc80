"""Parzen-window log-likelihood of the test samples x under Gaussians of width s centred at the fakes Y_j, in nats.

    mean_i log( (1 / M) sum_j exp(-||x_i - Y_j||^2 / (2 s^2)) ) - d log(s sqrt(2 pi))         for d pixels in [0, 1]

(Points are used as they are, audio in [-1, 1]; tokens have no density.)

Goodfellow et al. 2014 (arXiv:1406.2661, section 5), with M = 10,000.  s is the one of ten log-spaced values from 0.1 to
1 with the highest mean over the first 1,000 validation samples.  The reported deviation is the standard error over the
test samples (population standard deviation over sqrt(N)), not over seeds.

It ranks models wrongly (Theis et al. 2016, arXiv:1511.01844): s and M alone change it by tens of nats, and k-means
centroids score higher than the training images that they are means of.  Both are its anchors; always report them with
the score.  It does not use the common anchor sets, because the set "real" contains the test images.
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

ROWS = 500  # samples per block: 40 MB of distances to 10,000 centres
PAPER_CENTRES = 10_000  # centres of the paper
NEEDED_SPLITS = ("train", "validation", "test")
LLOYD_ITERATIONS = (
    5  # k-means iterations, far from convergence: with 10,000 centroids of MNIST one takes 15 s on one core
)


def log_likelihood(x: Tensor, centres: Tensor, widths: Tensor) -> Tensor:
    """Log-density of x [N, d] under Gaussians at centres [M, d], for widths [S] > 0: [N, S], float64, nats."""
    centres, widths = centres.to(torch.float64), widths.to(torch.float64)
    shift = centres.mean(0)  # a large mean would cost the matrix product digits
    centres = centres - shift
    squares = centres.square().sum(1)
    constant = math.log(len(centres)) + centres.shape[1] * (widths.log() + 0.5 * math.log(2 * math.pi))
    chunks = []
    for rows in x.split(ROWS):
        rows = rows.to(torch.float64) - shift
        distance = torch.addmm(squares, rows, centres.T, alpha=-2).add_(rows.square().sum(1, keepdim=True))
        distance = distance.clamp_(min=0)
        chunks.append(torch.stack([torch.logsumexp(distance / (-2 * s * s), 1) for s in widths.tolist()], 1))
    return torch.cat(chunks) - constant


def best_width(validation: Tensor, centres: Tensor, widths: Tensor) -> Tensor:
    """The width with the highest mean log-likelihood of `validation`, a float64 scalar; the smaller of equal ones."""
    return widths.to(torch.float64)[log_likelihood(validation, centres, widths).mean(0).argmax()]


class Parzen(Metric):
    """Log-likelihood of the test split of the data, whatever split the other metrics measure against."""

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
        """`sigmas` widths from `low` to `high`; `validation` and `test` samples, None: all; `centroids` k-means
        centroids in the anchor, None: as many as there are fakes, 0: no such anchor."""
        super().__init__()
        if sigmas < 1 or not 0 < low <= high:
            raise Mistake(f"parzen: {sigmas} widths from {low} to {high}: give sigmas >= 1 and 0 < low <= high.")
        if validation < 1 or (test is not None and test < 1):
            raise Mistake(f"parzen cannot measure {validation} validation and {test} test samples: give at least 1.")
        self.sigmas, self.low, self.high, self.centroids = sigmas, low, high, centroids
        self.limits = {"validation": validation, "test": test}
        self._splits: dict[str, SplitLike] = {}
        self._modality: Modality | None = None
        self.declare_states("fake")

    def setup(self, data: DataLike) -> str | None:
        """Get the splits.  Samples of a folder are read only when a score is computed."""
        self._splits = {}
        sizes, self._modality = data.describe()["sizes"], modality_of(data)
        if not self._modality.ordered:
            return f"it measures a density, and {self._modality.name} have none.{self._modality.metric_hint}"
        if missing := [name for name in NEEDED_SPLITS if not sizes.get(name)]:
            return f"it needs the splits {', '.join(NEEDED_SPLITS)}, and the data have no {' and no '.join(missing)}"
        self._splits = {name: data.split(name) for name in NEEDED_SPLITS}
        return None

    def update(self, features: Features, real: bool) -> None:
        if features.x is None:
            raise ValueError("a Parzen window needs samples, and these features have none")
        if not real:
            self.append_rows("fake", features.x)

    def compute(self) -> Result:
        """Return the mean, its standard error, and the width in the detail.  Raises ValueError before `setup`."""
        return self._fit_and_score(self._to_unit_range(self.all_rows("fake")))

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {
            "sigmas": self.sigmas,
            "low": self.low,
            "high": self.high,
            **{f"n_{name}": self._used_size(name) for name in self.limits},
            **{name: self._splits[name].sha256 if self._splits else None for name in self.limits},
            "std": "standard error over test samples",
        }

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._splits else "it needs a data set with validation and test splits, and has a single split"

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        if n_fake == PAPER_CENTRES:
            return None
        return f"published scores use {PAPER_CENTRES:,} centres; scores with {n_fake:,} are not comparable"

    def anchor_settings(self) -> dict[str, Any]:
        return {"centroids": self.centroids}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the scores of n training samples as centres, and of n centroids of all training samples."""
        train = self._splits["train"]
        order = torch.randperm(len(train), generator=Stream(0, "parzen/training images").generator)
        chosen = self._to_unit_range(train[order[:n].sort().values][0].to(self.device))
        results = {"training images": self._fit_and_score(chosen)}
        k = n if self.centroids is None else self.centroids
        if 0 < k < len(train):
            # 4 bytes per pixel of all training samples: 160 MB for MNIST
            every = torch.cat([self._to_unit_range(x, torch.float32) for x, _ in train.batches(ROWS)])
            results["k-means"] = self._fit_and_score(k_means(every, k).to(self.device))
        return results

    def _fit_and_score(self, centres: Tensor) -> Result:
        widths = self.widths.to(self.device)
        sigma = best_width(torch.cat(list(self._sample_blocks("validation"))), centres, widths)
        values = torch.cat([log_likelihood(x, centres, sigma[None])[:, 0] for x in self._sample_blocks("test")])
        edge = bool((sigma == widths[0]) | (sigma == widths[-1])) and len(widths) > 1
        detail: dict[str, Any] = {"sigma": sigma.item(), "edge": edge, "centres": len(centres)}
        if edge:
            key = "metric.parzen.low" if sigma == widths[0] else "metric.parzen.high"
            detail["note"] = f"sigma {sigma.item():.3g} is at the edge of the grid, another may be better: widen {key}"
        return Result(values.mean(), values.std(correction=0) / len(values) ** 0.5, detail, n=len(centres))

    @property
    def widths(self) -> Tensor:
        """The widths to choose from, [S], float64, ascending."""
        return torch.logspace(math.log10(self.low), math.log10(self.high), self.sigmas, dtype=torch.float64)

    def _used_size(self, name: str) -> int | None:
        if not self._splits:
            return self.limits[name]
        return min(len(self._splits[name]), self.limits[name] or len(self._splits[name]))

    def _sample_blocks(self, name: str) -> Iterable[Tensor]:
        """Iterate over the split's first samples, as many as are used, in blocks [<= ROWS, d], float64."""
        for index in torch.arange(self._used_size(name) or 0).split(ROWS):
            yield self._to_unit_range(self._splits[name][index][0].to(self.device))

    def _to_unit_range(self, x: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """Convert stored x to [n, d], pixels in [0, 1]."""
        if self._modality is None:
            raise ValueError("a Parzen window needs the validation and test splits of the data: call setup first")
        return self._modality.to_density_units(x, dtype).flatten(1)


def k_means(x: Tensor, k: int) -> Tensor:
    """Return k means [k, d] of float32 x [N, d], k < N, after `LLOYD` iterations of Lloyd's algorithm."""
    from sklearn.cluster import KMeans  # the import takes half a second, and only this anchor needs it

    seed = derive_seed(0, "parzen/k-means") % 2**32
    # n_init="auto" is one start if the first centres are random
    lloyd = KMeans(k, init="random", n_init="auto", max_iter=LLOYD_ITERATIONS, tol=0, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns if repeated samples give fewer distinct means
        fitted = lloyd.fit(x.cpu().numpy())
    return torch.from_numpy(fitted.cluster_centers_)
