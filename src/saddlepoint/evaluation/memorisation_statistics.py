"""Statistics of memorisation: whether samples lie nearer to the training set than held-out images do.

    distance ratio   median over samples of d(sample, train) / d(sample, held-out), with as many images of each; 1 if
                     nothing is copied
    authenticity     fraction of samples that are farther from their nearest training image t than t is from its nearest
                     other training image: Alaa et al. 2022 (arXiv:2102.08921)
    C_T              mean over cells of the training set, weighted by the held-out images of the cell, of Mann-Whitney's
                     z that compares the distances of samples and of held-out images to the training set; far below 0:
                     copies, far above 0: samples off the data.  Meehan, Chaudhuri & Dasgupta 2020 (arXiv:2004.05675)
    MiFID            FID / m, with m the mean over samples of the smallest cosine distance to the training features, or
                     1 if that mean is not below a threshold: Bai et al. 2021 (arXiv:2106.03062).  The threshold 0.1 is
                     that of its Kaggle contest, chosen for Inception features
    membership AUC   the probability that D rates a training image as more real than a held-out one (ties count half),
                     with its standard error by DeLong, DeLong & Clarke-Pearson 1988

Training and held-out images must be random parts of one pool: another test set differs even without memorisation.
Distances are root mean squares over pixels in [-1, 1], points or features; the statistics do not depend on their scale.
The test that raises an alarm is in `memorisation_alarm`.
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

BLOCK_ENTRIES = 20_000_000  # of a distance matrix per block: 80 MB
MIN_CELL_SIZE = 20  # smallest number of samples, and of held-out images, in a cell of C_T
MAX_FITTED = 10_000  # training images that k-means is fitted on
MIFID_THRESHOLD = 0.1


class Neighbours(NamedTuple):
    """The k nearest members of a set, for each of n queries, nearest first."""

    distance: Tensor  # [n, k], float64
    index: Tensor  # [n, k], int64, into the set

    def select(self, rows: Tensor) -> Neighbours:
        """Return the neighbours of the queries `rows`."""
        return Neighbours(self.distance[rows], self.index[rows])

    def merge(self, other: Neighbours, first: int, ties: Tensor | None = None) -> Neighbours:
        """Merge with the neighbours in another set, whose members are numbered after the `first` members of this one.

        ties    int64, a number for each member: of equally near members the one with the smaller number is first
        """
        union = Neighbours(
            torch.cat([self.distance, other.distance], 1), torch.cat([self.index, other.index + first], 1)
        )
        return (union if ties is None else union.sort(ties[union.index])).sort()

    def sort(self, by: Tensor | None = None) -> Neighbours:
        """Sort by distance, or by `by` [n, k]; stable."""
        order = torch.argsort(self.distance if by is None else by, dim=1, stable=True)
        return Neighbours(self.distance.gather(1, order), self.index.gather(1, order))


def nearest_neighbours(
    x: Tensor, y: Tensor, k: int = 1, shift: int = 0, flip: bool = False, skip: Tensor | None = None
) -> Neighbours:
    """Return the k nearest y [N, ...] of each x [n, ...], or all y if there are fewer.

    shift, flip    for images [n, C, H, W]: the smallest distance over shifts of x by up to `shift` pixels in each
                   direction, computed where the images overlap, and over its mirror image
    skip           [n], int64: the one y that is excluded for each x, for example x itself
    """
    x, y = x.to(torch.float32), y.to(torch.float32)
    k = min(k, len(y) - (skip is not None))
    if k < 1:
        raise ValueError(f"there are no neighbours among {len(y)} candidates")
    windows = list(_overlapping_windows(x.shape[2:], shift)) if shift else [(..., ...)]
    # centring must commute with shifts and flips, so it uses the mean of a channel and not the mean image
    centre = y.mean((0, 2, 3)).view(-1, 1, 1) if shift or flip else y.mean(0)
    nearest = []
    for number, block in enumerate((x - centre).split(rows := max(1, BLOCK_ENTRIES // len(y)))):
        best = _smallest_squares([block, block.flip(-1)] if flip else [block], y - centre, windows)
        if skip is not None:
            best.scatter_(1, skip[number * rows :][: len(block)].unsqueeze(1), torch.inf)
        nearest.append(best.topk(k, dim=1, largest=False))
    # a float32 product finds the neighbours, but gives a copy a distance of 1e-3, so distances are recomputed by
    # difference in float64. With shifts or flips only the nearest is, as all k would cost as much as the search
    index = torch.cat([indices for _, indices in nearest])
    distance = torch.cat([values for values, _ in nearest]).clamp(min=0).to(torch.float64).sqrt()
    recomputed = 1 if len(windows) > 1 or flip else k
    pairs = zip(x.split(256), index[:, :recomputed].split(256), strict=True)
    distance[:, :recomputed] = torch.cat(
        [_exact_distances(block, y[indices], windows, flip) for block, indices in pairs]
    )
    distance[:, recomputed:] = torch.maximum(distance[:, recomputed:], distance[:, :1])
    return Neighbours(distance, index).sort()


def _overlapping_windows(sides: tuple[int, ...], shift: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Yield the overlapping regions of x and of y for each shift; at least two thirds of a side always overlap."""
    height, width = sides
    up, left = min(shift, height // 3), min(shift, width // 3)
    for dy in range(-up, up + 1):
        for dx in range(-left, left + 1):
            rows, columns = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
            y_rows, y_columns = slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx))
            yield (..., rows, columns), (..., y_rows, y_columns)  # pyright: ignore[reportReturnType]


def _smallest_squares(variants: list[Tensor], y: Tensor, windows: list[tuple]) -> Tensor:
    """Smallest mean square between each x, in any variant, and each y, over all windows: [n, N]."""
    best = None
    for x_window, y_window in windows:
        target = y[y_window].flatten(1)
        squares = target.square().sum(1)
        for x in variants:
            source = x[x_window].flatten(1)
            square = torch.addmm(squares, source, target.T, alpha=-2).add_(source.square().sum(1, keepdim=True))
            square /= target.shape[1]
            best = square if best is None else torch.minimum(best, square, out=best)
    assert best is not None
    return best


def _exact_distances(x: Tensor, y: Tensor, windows: list[tuple], flip: bool) -> Tensor:
    """Distance of each x [n, ...] to each of its y [n, k, ...], float64 [n, k]."""
    x, y = x.to(torch.float64).unsqueeze(1), y.to(torch.float64)
    variants = [x, x.flip(-1)] if flip else [x]
    squares = [(variant[a] - y[b]).flatten(2).square().mean(2) for a, b in windows for variant in variants]
    return torch.stack(squares).amin(0).sqrt()


def distance_ratio(to_train: Tensor, to_held_out: Tensor) -> Tensor:
    """Median ratio of the samples' distances to the training set and to as many held-out images; both [n].

    The ratio of a sample that is a copy of images in both sets is 1.
    """
    return torch.where(to_held_out == to_train, 1.0, to_train / to_held_out).quantile(0.5)


def copying_statistic(
    samples: Tensor, held_out: Tensor, sample_cell: Tensor, held_out_cell: Tensor
) -> tuple[float, float, int]:
    """Return C_T, its z and the number of cells used, from distances of samples and held-out images to training images.

    samples [n] and held_out [m] are the distances, and the others are their cells.  A cell with fewer than 20 of either
    is not used.  C_T is the weighted mean of the z of the cells, which varies less than N(0, 1); its z is that mean
    divided by its standard deviation, N(0, 1) for samples that copy nothing.  Both are nan if no cell is used.
    """
    weights, scores = [], []
    for cell in held_out_cell.unique().tolist():
        a, b = samples[sample_cell == cell].cpu().numpy(), held_out[held_out_cell == cell].cpu().numpy()
        if min(len(a), len(b)) >= MIN_CELL_SIZE:
            weights.append(len(b))
            scores.append(mann_whitney_z(a, b))
    if not weights:
        return float("nan"), float("nan"), 0
    weight, score = np.array(weights, dtype=np.float64), np.array(scores)
    total = float(weight @ score)
    return total / weight.sum(), total / float(np.sqrt(weight @ weight)), len(weights)


def mann_whitney_z(a: np.ndarray, b: np.ndarray) -> float:
    """Mann-Whitney's z, positive if a's values are larger; ties share their ranks.  Mann & Whitney 1947."""
    rank = rankdata(np.concatenate([a, b]))
    n, m = len(a), len(b)
    ties = np.unique(rank, return_counts=True)[1].astype(np.float64)
    variance = n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1)))
    excess = rank[:n].sum() - n * (n + 1) / 2 - n * m / 2
    return 0.0 if variance <= 0 else float(excess / np.sqrt(variance))


def kmeans_cells(train: Tensor, *others: Tensor, number: int, seed: int = 0) -> list[Tensor]:
    """Return the cell, int64, of each row of `others`: k-means cells, fitted on at most 10,000 training images."""
    fitted = train.flatten(1)[:: -(-len(train) // MAX_FITTED)].to(torch.float64).cpu().numpy()
    means = KMeans(number, n_init="auto", random_state=seed).fit(fitted)
    return [torch.from_numpy(means.predict(x.flatten(1).to(torch.float64).cpu().numpy())).long() for x in others]


def memorisation_distance(fake: Tensor, train: Tensor) -> Tensor:
    """Mean over fakes [n, d] of 1 - the largest |cosine| with a training feature [N, d]; ignores rows of zeros."""
    doubles = (x.to(torch.float64) for x in (fake, train))
    fake, train = (normalize(x[x.norm(dim=1) > 0], eps=0) for x in doubles)
    cosines = [(rows @ train.T).abs().amax(1) for rows in fake.split(max(1, BLOCK_ENTRIES // len(train)))]
    return (1 - torch.cat(cosines)).clamp(min=0).mean()


def mifid(fake: Tensor, train: Tensor, threshold: float = MIFID_THRESHOLD) -> tuple[float, float, float]:
    """Return the MiFID of features [n, d] and [N, d], n, N >= 2, its FID, and the mean smallest cosine distance.

    It is infinite if all fakes are copies but the FID is not 0.
    """
    one, two = (Moments.from_samples(x.to(torch.float64)) for x in (fake, train))
    fid = float(frechet_distance(one.mean, one.covariance, two.mean, two.covariance))
    distance = float(memorisation_distance(fake, train))
    penalty = distance if distance < threshold else 1.0
    return fid / penalty if penalty else (torch.inf if fid else 0.0), fid, distance


def membership_auc(members: Tensor, others: Tensor) -> tuple[float, float, float]:
    """Return the AUC with which scores [n] and [m] separate members from others, and the ends of its 95% interval.

    Raises ValueError for fewer than two of either.
    """
    a, b = members.to(torch.float64).cpu().numpy(), others.to(torch.float64).cpu().numpy()
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a membership AUC needs at least two members and two others, and has {len(a)} and {len(b)}")
    rank = rankdata(np.concatenate([a, b]))
    above = (rank[: len(a)] - rankdata(a)) / len(b)  # per member: the fraction of the others with a lower score
    below = 1 - (rank[len(a) :] - rankdata(b)) / len(a)
    auc = float(above.mean())
    half = float(norm.ppf(0.975) * np.sqrt(above.var(ddof=1) / len(a) + below.var(ddof=1) / len(b)))
    return auc, max(0.0, auc - half), min(1.0, auc + half)
