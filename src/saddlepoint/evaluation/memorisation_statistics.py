"""Memorisation: whether samples lie nearer to the training set than images that were never trained on do.

    distance ratio   median over samples of d(sample, train) / d(sample, held-out), of as many images of each; 1 where
                     nothing is copied
    authenticity     part of the samples that are farther from their nearest training image t than t is from its own
                     nearest other one: Alaa et al. 2022 (arXiv:2102.08921)
    C_T              over cells of the training set, the mean of Mann-Whitney's z of the samples' distances to it
                     against the held-out images', each cell weighing what it holds of the held-out; far below 0:
                     copies, far above 0: samples off the data.  Meehan, Chaudhuri & Dasgupta 2020 (arXiv:2004.05675)
    MiFID            FID / m, m the mean over samples of the least cosine distance to the training features, or 1 where
                     that mean is not below a threshold: Bai et al. 2021 (arXiv:2106.03062), with the threshold 0.1 of
                     its Kaggle contest, chosen for Inception's features
    membership AUC   the probability that D finds a training image more real than a held-out one (ties count half), with
                     its standard error by DeLong, DeLong & Clarke-Pearson 1988

Held-out images are a random part of the pool that the training set is a random part of: any other test set differs of
itself.  Distances are root mean squares over pixels in [-1, 1], points or features; what is read is free of scale.
The test that rings an alarm is in `alarm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import norm, rankdata
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import normalize

from saddlepoint.metric.frechet_distance import Moments, frechet_distance

ENTRIES = 20_000_000  # of a distance matrix at once: 80 MB
CELL = 20  # samples, and held-out images, that a cell of C_T takes
FITTED = 10_000  # training images that the cells are fitted on
MIFID_THRESHOLD = 0.1  # MiFID's threshold


class Neighbours(NamedTuple):
    """The k nearest of some set, nearest first."""

    distance: Tensor  # [n, k], float64
    index: Tensor  # [n, k], int64: which of the set

    def select(self, rows: Tensor) -> Neighbours:
        """Those of the queries `rows`."""
        return Neighbours(self.distance[rows], self.index[rows])

    def merge(self, other: Neighbours, first: int, ties: Tensor | None = None) -> Neighbours:
        """The nearest of both sets laid end to end, the first of which has `first` members; as many as both give.

        ties    int64, of every member of both: of equally near ones the one with the lower number stands first
        """
        both = Neighbours(
            torch.cat([self.distance, other.distance], 1), torch.cat([self.index, other.index + first], 1)
        )
        return (both if ties is None else both.sort(ties[both.index])).sort()

    def sort(self, by: Tensor | None = None) -> Neighbours:
        """By distance, or by `by`, [n, k]; equal ones stay in their order."""
        order = torch.argsort(self.distance if by is None else by, dim=1, stable=True)
        return Neighbours(self.distance.gather(1, order), self.index.gather(1, order))


def nearest_neighbours(
    x: Tensor, y: Tensor, k: int = 1, shift: int = 0, flip: bool = False, skip: Tensor | None = None
) -> Neighbours:
    """The k nearest y [N, ...] of each x [n, ...]; all that there are, where k is more.

    shift, flip    of images [n, C, H, W]: the least distance over moves of x by up to `shift` pixels either way, taken
                   over what then overlaps, and over its mirror image
    skip           [n], int64: the one y that is none of x's, x itself for example
    """
    x, y = x.to(torch.float32), y.to(torch.float32)
    k = min(k, len(y) - (skip is not None))
    if k < 1:
        raise ValueError(f"no neighbours: {len(y)} to look among")
    windows = list(_windows(x.shape[2:], shift)) if shift else [(..., ...)]
    # what every move leaves as it is: a mean image would be taken off one place and added in another
    centre = y.mean((0, 2, 3)).view(-1, 1, 1) if shift or flip else y.mean(0)
    found = []
    for number, part in enumerate((x - centre).split(rows := max(1, ENTRIES // len(y)))):
        best = _matrix([part, part.flip(-1)] if flip else [part], y - centre, windows)
        if skip is not None:
            best.scatter_(1, skip[number * rows :][: len(part)].unsqueeze(1), torch.inf)
        found.append(best.topk(k, dim=1, largest=False))
    # a product in float32 finds who is near, and would give a copy a distance of 1e-3: the nearest, and without moves
    # all, are measured again by difference, in float64; with moves that would cost as much as the search
    index = torch.cat([indices for _, indices in found])
    distance = torch.cat([values for values, _ in found]).clamp(min=0).to(torch.float64).sqrt()
    sure = 1 if len(windows) > 1 or flip else k
    exact = [_exact(a, y[i], windows, flip) for a, i in zip(x.split(256), index[:, :sure].split(256), strict=True)]
    distance[:, :sure] = torch.cat(exact)
    distance[:, sure:] = torch.maximum(distance[:, sure:], distance[:, :1])
    return Neighbours(distance, index).sort()


def _windows(sides: tuple[int, ...], shift: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """What of x, and what of y, overlaps when x is moved; no move leaves less than two thirds of a side."""
    height, width = sides
    up, left = min(shift, height // 3), min(shift, width // 3)
    for dy in range(-up, up + 1):
        for dx in range(-left, left + 1):
            rows, columns = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
            there = slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx))
            yield (..., rows, columns), (..., *there)  # pyright: ignore[reportReturnType]


def _matrix(turned: list[Tensor], y: Tensor, windows: list[tuple]) -> Tensor:
    """The least mean square of each x, turned in any way, from each y, over all windows: [n, N]."""
    best = None
    for of_x, of_y in windows:
        target = y[of_y].flatten(1)
        squares = target.square().sum(1)
        for x in turned:
            source = x[of_x].flatten(1)
            square = torch.addmm(squares, source, target.T, alpha=-2).add_(source.square().sum(1, keepdim=True))
            square /= target.shape[1]
            best = square if best is None else torch.minimum(best, square, out=best)
    assert best is not None
    return best


def _exact(x: Tensor, y: Tensor, windows: list[tuple], mirrored: bool) -> Tensor:
    """The distance of each x [n, ...] to each of its y [n, k, ...], float64 [n, k]."""
    x, y = x.to(torch.float64).unsqueeze(1), y.to(torch.float64)
    turned = [x, x.flip(-1)] if mirrored else [x]
    squares = [(one[a] - y[b]).flatten(2).square().mean(2) for a, b in windows for one in turned]
    return torch.stack(squares).amin(0).sqrt()


def distance_ratio(to_train: Tensor, to_held: Tensor) -> Tensor:
    """The median of the samples' distances to the training set over those to as many held-out images; both [n].

    A copy of both sets counts as 1.
    """
    return torch.where(to_held == to_train, 1.0, to_train / to_held).quantile(0.5)


def authenticity(to_train: Tensor, radius: Tensor) -> Tensor:
    """The part of samples whose distance to their nearest training image, [n], exceeds that one's `radius`, [n]."""
    return (to_train > radius).to(torch.float64).mean()


def copying_statistic(
    samples: Tensor, held: Tensor, sample_cell: Tensor, held_cell: Tensor
) -> tuple[float, float, int]:
    """C_T, its z and how many cells count, of distances to the training set, samples [n] and held-out [m], by cell.

    Cells of fewer than 20 of either are left out.  C_T is the weighted mean of their z, and narrower than N(0, 1); the
    z is that mean over its own standard deviation, N(0, 1) where samples are fresh; both are nan where no cell counts.
    """
    weights, scores = [], []
    for cell in held_cell.unique().tolist():
        a, b = samples[sample_cell == cell].cpu().numpy(), held[held_cell == cell].cpu().numpy()
        if min(len(a), len(b)) >= CELL:
            weights.append(len(b))
            scores.append(mann_whitney_z(a, b))
    if not weights:
        return float("nan"), float("nan"), 0
    weight, score = np.array(weights, dtype=np.float64), np.array(scores)
    total = float(weight @ score)
    return total / weight.sum(), total / float(np.sqrt(weight @ weight)), len(weights)


def mann_whitney_z(a: np.ndarray, b: np.ndarray) -> float:
    """Mann-Whitney's z, above 0 where a's values are the larger; ties share their ranks.  Mann & Whitney 1947."""
    rank = rankdata(np.concatenate([a, b]))
    n, m = len(a), len(b)
    repeated = np.unique(rank, return_counts=True)[1].astype(np.float64)
    variance = n * m / 12 * (n + m + 1 - (repeated**3 - repeated).sum() / ((n + m) * (n + m - 1)))
    excess = rank[:n].sum() - n * (n + 1) / 2 - n * m / 2
    return 0.0 if variance <= 0 else float(excess / np.sqrt(variance))


def assign_cells(train: Tensor, *others: Tensor, number: int, seed: int = 0) -> list[Tensor]:
    """The cell of each row of `others`, int64: of `number` k-means cells of the training set, 10,000 of it at most."""
    fitted = train.flatten(1)[:: -(-len(train) // FITTED)].to(torch.float64).cpu().numpy()
    means = KMeans(number, n_init="auto", random_state=seed).fit(fitted)
    return [torch.from_numpy(means.predict(x.flatten(1).to(torch.float64).cpu().numpy())).long() for x in others]


def memorisation_distance(fake: Tensor, train: Tensor) -> Tensor:
    """The mean over fakes [n, d] of 1 - the largest |cosine| with a training feature [N, d]; rows of zeros left out."""
    wide = (x.to(torch.float64) for x in (fake, train))
    fake, train = (normalize(x[x.norm(dim=1) > 0], eps=0) for x in wide)
    nearest = [(part @ train.T).abs().amax(1) for part in fake.split(max(1, ENTRIES // len(train)))]
    return (1 - torch.cat(nearest)).clamp(min=0).mean()


def mifid(fake: Tensor, train: Tensor, threshold: float = MIFID_THRESHOLD) -> tuple[float, float, float]:
    """MiFID of features [n, d] and [N, d], two at least of each, the FID in it, and the mean least distance.

    It is infinite where all are copies and the FID is not 0.
    """
    ours, theirs = (Moments.from_samples(x.to(torch.float64)) for x in (fake, train))
    fid = float(frechet_distance(ours.mean, ours.covariance, theirs.mean, theirs.covariance))
    distance = float(memorisation_distance(fake, train))
    penalty = distance if distance < threshold else 1.0
    return fid / penalty if penalty else (torch.inf if fid else 0.0), fid, distance


def membership_auc(members: Tensor, others: Tensor) -> tuple[float, float, float]:
    """The AUC by which scores, [n] and [m], tell members from others, and the ends of its 95% interval.

    ValueError for fewer than two of either.
    """
    a, b = members.to(torch.float64).cpu().numpy(), others.to(torch.float64).cpu().numpy()
    if min(len(a), len(b)) < 2:
        raise ValueError(f"membership takes two members and two others at least, and has {len(a)} and {len(b)}")
    rank = rankdata(np.concatenate([a, b]))
    above = (rank[: len(a)] - rankdata(a)) / len(b)  # of each member: the part of the others that it beats
    below = 1 - (rank[len(a) :] - rankdata(b)) / len(a)
    auc = float(above.mean())
    half = float(norm.ppf(0.975) * np.sqrt(above.var(ddof=1) / len(a) + below.var(ddof=1) / len(b)))
    return auc, max(0.0, auc - half), min(1.0, auc + half)
