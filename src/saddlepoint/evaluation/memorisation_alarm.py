"""The alarm: are samples copies of training images, exact, moved, mirrored or noisy?  At a stated rate of false ones.

A copy is nearer to one training image than that image's surroundings are to it.  So the score of a sample is

    d(sample, nearest) / d(sample, tenth nearest)       0 for a copy, about 0.8 for a fresh image

as Carlini et al. 2023 (arXiv:2301.13188) divide by a mean distance to neighbours: a blurred, plain or collapsed sample
lies near to many images and scores no lower.  Pixels are compared over moves by up to two pixels and
mirror images, which a plain distance does not see; features see what pixels cannot.

Two nulls, each with its test; a test asks, of the K lowest scores, how many are of the suspected kind, for every K of a
grid and in every space, takes the least hypergeometric tail, and holds it against the same least tail under random
relabellings.  So neither the search over K, nor the choice of the space, nor the finite held-out set costs the level:

    membership    of the pool, train and held-out together, train images are the nearest of the lowest scores no oftener
                  than their part of it says.  Who was trained on was drawn at random, so this holds exactly for any
                  generator, good or bad, that does not know; it is blind where nearly all of the pool was trained on.
                  Features that were themselves learned from the training images know, and are left out
    closeness     of samples and held-out images together, scored by the training set alone, samples are no oftener
                  among the lowest.  Exact for samples like fresh images; it finds a few copies in a large training set

An image that is the nearest of many counts once, by its lowest score, so that one image made over and over is one piece
of evidence.  Closeness looks at the lowest quarter only: what makes samples differ elsewhere is not copying.  The alarm
rings where the smaller p is at most half the level (Bonferroni).

No test by ranks can see one copy: c copies that lie below everything else have a p of (part)^c at best; `least` says
how many it takes, where chance adds nothing.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil, log
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import hypergeom
from torch import Tensor

from saddlepoint.evaluation.memorisation_statistics import Neighbours, nearest_neighbours
from saddlepoint.stream import derive_seed

SCALE = 10  # the neighbour whose distance is the unit
SHIFT = 2  # pixels that a copy may have moved
DRAWS = 1999  # relabellings: the least p is 1 / 2000
MIN_K, STEPS = 4, 24  # the grid of K
TAIL = 4  # closeness looks at one in so many


class SpaceNeighbours(NamedTuple):
    """Of samples and of held-out images, the SCALE nearest training images; of samples, the SCALE nearest held-out."""

    sample_to_train: Neighbours
    held_out_to_train: Neighbours
    sample_to_held_out: Neighbours
    exchangeable: bool = (
        True  # whether training and held-out images are treated alike: not by who learned from the former
    )


def find_space_neighbours(
    samples: Tensor, train: Tensor, held_out: Tensor, with_moves: bool = False, exchangeable: bool = True
) -> SpaceNeighbours:
    """The space of pixels, points or features, [., ...] each; `held` in random order.

    As many held-out images are asked for their neighbours as there are samples, if there are.

    moves    images are compared over moves by up to SHIFT pixels and mirror images
    """
    ways = {"shift": SHIFT, "flip": True} if with_moves else {}
    asked = held_out[: len(samples)]
    pairs = (samples, train), (asked, train), (samples, held_out)
    one, two, three = (nearest_neighbours(x, y, SCALE, **ways) for x, y in pairs)
    return SpaceNeighbours(one, two, three, exchangeable)


class Alarm(NamedTuple):
    """Whether it rings, and the p of each test, before Bonferroni's factor of two."""

    rings: bool
    p: float  # of both, at most 1
    membership: float
    closeness: float


def memorisation_alarm(
    spaces: Mapping[str, SpaceNeighbours], n_train: int, n_held_out: int, level: float = 0.025, seed: int = 0
) -> Alarm:
    """The alarm over all spaces, of one set of samples against `n_train` training and `n_held` held-out images."""
    random = np.random.default_rng(derive_seed(seed, "memorisation", "alarm"))
    pool, tails = [], []
    order = torch.from_numpy(random.permutation(n_train + n_held_out))  # a tie between train and held-out is nobody's
    for one in spaces.values():
        both = Neighbours(*(torch.cat(pair) for pair in zip(one.sample_to_train, one.held_out_to_train, strict=True)))
        lowest = _once(both.index[:, 0], copy_score(both), random)
        tails.append(lowest[: max(MIN_K, len(lowest) // TAIL)].numpy())
        if one.exchangeable:
            joined = one.sample_to_train.merge(one.sample_to_held_out, n_train, order)
            nearest, scores = joined.index[:, 0], copy_score(joined)
            pool.append(nearest[_once(nearest, scores, random)].numpy())
    first = next(iter(spaces.values()))
    n, m = len(first.sample_to_train.index), len(first.held_out_to_train.index)
    of_members = enrichment_p_value(pool, np.arange(n_train + n_held_out) < n_train, random) if pool else 1.0
    of_samples = enrichment_p_value(tails, np.arange(n + m) < n, random)
    p = min(1.0, 2 * min(of_members, of_samples))
    return Alarm(p <= level, p, of_members, of_samples)


def min_detectable_copies(n_train: int, n_held_out: int, n: int, m: int, level: float = 0.025) -> int:
    """How many copies, of distinct images, it takes to ring the alarm, where all else is as it should be.

    `n` samples, and `m` held-out images beside them.
    """
    return ceil(log(level / 2) / log(min(n_train / (n_train + n_held_out), n / (n + m))))


def copy_score(found: Neighbours) -> Tensor:
    """The distance of the nearest over that of the SCALE-th, or the last that there is; 0 for a copy.  [n], float64."""
    first, unit = found.distance[:, 0], found.distance[:, min(SCALE, found.distance.shape[1]) - 1]
    return torch.where(first == 0, 0.0, first / unit)


def _once(item: Tensor, scores: Tensor, random: np.random.Generator) -> Tensor:
    """The queries by score, lowest first, ties in any order; of those with the same item only the first."""
    shuffled = torch.from_numpy(random.permutation(len(scores)))  # else ties would fall to whoever stands first
    order = shuffled[scores[shuffled].argsort(stable=True)]
    _, first = np.unique(item[order].numpy(), return_index=True)
    return order[torch.from_numpy(np.sort(first))]


def enrichment_p_value(
    orders: Sequence[np.ndarray], marked: np.ndarray, random: np.random.Generator, draws: int = DRAWS
) -> float:
    """The p of the hypothesis that marks, bool [N], were put at random: are they too many at the front of any order?

    Each order, int64, holds some of the N, each once.  Exact, whatever the orders and however they hang together.
    """
    there = np.unique(np.concatenate(orders))
    places = [np.searchsorted(there, order) for order in orders]
    total, good = len(marked), int(marked.sum())
    observed = _least_tail(marked[there][None], places, total, good)[0]
    as_low, left = 0, draws
    while left:
        some = min(left, max(1, 2_000_000 // len(there)))
        marks = _marks(len(there), total, good, some, random)
        as_low += int((_least_tail(marks, places, total, good) <= observed).sum())
        left -= some
    return (1 + as_low) / (1 + draws)


def _marks(n: int, total: int, good: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """bool [draws, n]: the marks of n out of `total`, `good` of which are marked at random."""
    number = random.hypergeometric(good, total - good, n, draws)
    keys = random.random((draws, n))
    bound = np.concatenate([np.sort(keys, 1), np.full((draws, 1), 2.0)], 1)[np.arange(draws), number]
    return keys < bound[:, None]


def _least_tail(marks: np.ndarray, places: Sequence[np.ndarray], total: int, good: int) -> np.ndarray:
    """The least log tail over orders and K, [draws]."""
    least = np.zeros(len(marks))
    for place in places:
        n = len(place)
        grid = np.unique(np.geomspace(min(MIN_K, n), n, STEPS).round().astype(int))
        counts = marks[:, place].cumsum(1)[:, grid - 1]
        for column, k in enumerate(grid.tolist()):
            least = np.minimum(least, _log_tail(k, total, good)[counts[:, column]])
    return least


@lru_cache(maxsize=1024)
def _log_tail(k: int, total: int, good: int) -> np.ndarray:
    """log P(at least c marked among k drawn), for c = 0 .. k."""
    tail = hypergeom.pmf(np.arange(k + 1), total, good, k)[::-1].cumsum()[::-1]
    return np.log(np.maximum(tail, np.finfo(np.float64).tiny))
