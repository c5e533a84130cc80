"""Memorisation alarm: test whether samples are copies of training images (exact, shifted, mirrored or noisy).

The test has a stated rate of false alarms.  A copy is nearer to one training image than the neighbours of that image
are.  So the score of a sample is

    d(sample, nearest) / d(sample, tenth nearest)       0 for a copy, about 0.8 for an image that is not a copy

Carlini et al. 2023 (arXiv:2301.13188) divide by a mean distance to neighbours in the same way.  A blurred, plain or
collapsed sample is close to many images, so its score is not low.  Pixel distances are taken over shifts of up to two
pixels and mirror images, which a plain distance misses; features detect copies that pixels miss.

There are two null hypotheses, each with its test.  A test counts how many of the K lowest scores are of the suspected
kind, for every K of a grid and in every space, takes the smallest hypergeometric tail probability, and compares it with
the same minimum under random relabellings.  So the level does not depend on the search over K and spaces, or on the
size of the held-out set:

    membership    In the pool of training and held-out images, the nearest images of the lowest scores are training
                  images no more often than their share of the pool.  The training set was drawn at random, so this
                  holds exactly for any generator, good or bad, that has not memorised.  The test has no power if nearly
                  all of the pool was trained on.  Features learned from the training images are left out
    closeness     Among samples and held-out images, scored by the training set alone, samples are no more frequent
                  among the lowest scores.  Exact for samples distributed like new images; it detects a few copies of
                  images in a large training set

A sample whose ten nearest images are equally near is left out of membership: it is a copy of none of them.
An image that is the nearest of several samples counts once, with its lowest score, so repeated copies of one image are
one piece of evidence.  Closeness uses only the lowest quarter of scores, because samples may differ elsewhere without
copying.  The alarm is raised if the smaller p is at most half the level (Bonferroni).

No rank test detects a single copy: c copies that lie below everything else have a p of at least (their share)^c.
`min_detectable_copies` returns how many are needed.
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

UNIT_NEIGHBOUR = 10  # the neighbour whose distance is the unit
MAX_SHIFT = 2  # largest shift of a copy, in pixels
DRAWS = 1999  # relabellings: the smallest p is 1 / 2000
MIN_K, STEPS = 4, 24  # the grid of K
CLOSENESS_DIVISOR = 4  # closeness uses one score in so many


class SpaceNeighbours(NamedTuple):
    """The ten nearest training images of samples and of held-out images, and ten nearest held-out images of samples."""

    sample_to_train: Neighbours
    held_out_to_train: Neighbours
    sample_to_held_out: Neighbours
    exchangeable: bool = True  # whether distances treat training and held-out images alike; False for learned features


def find_space_neighbours(
    samples: Tensor, train: Tensor, held_out: Tensor, with_moves: bool = False, exchangeable: bool = True
) -> SpaceNeighbours:
    """Find the neighbours in one space of pixels, points or features, [., ...] each; `held_out` in random order.

    Neighbours of held-out images are found for at most as many as there are samples.  `with_moves`: compare images over
    shifts by up to MAX_SHIFT pixels and mirror images.
    """
    moves = {"shift": MAX_SHIFT, "flip": True} if with_moves else {}
    queries = held_out[: len(samples)]
    pairs = (samples, train), (queries, train), (samples, held_out)
    one, two, three = (nearest_neighbours(x, y, UNIT_NEIGHBOUR, **moves) for x, y in pairs)
    return SpaceNeighbours(one, two, three, exchangeable)


class Alarm(NamedTuple):
    """Whether the alarm is raised, and the p of each test, before Bonferroni's factor of two."""

    rings: bool
    p: float  # of both tests together, at most 1
    membership: float
    closeness: float


def memorisation_alarm(
    spaces: Mapping[str, SpaceNeighbours], n_train: int, n_held_out: int, level: float = 0.025, seed: int = 0
) -> Alarm:
    """Test one set of samples against `n_train` training and `n_held_out` held-out images, over all spaces."""
    random = np.random.default_rng(derive_seed(seed, "memorisation", "alarm"))
    pool, tails = [], []
    order = torch.from_numpy(random.permutation(n_train + n_held_out))  # breaks ties of train and held-out at random
    for space in spaces.values():
        pairs = zip(space.sample_to_train, space.held_out_to_train, strict=True)
        queries = Neighbours(*(torch.cat(pair) for pair in pairs))
        lowest = _lowest_per_item(queries.index[:, 0], neighbour_distance_ratio(queries), random)
        tails.append(lowest[: max(MIN_K, len(lowest) // CLOSENESS_DIVISOR)].numpy())
        if space.exchangeable:
            joined = space.sample_to_train.merge(space.sample_to_held_out, n_train, order)
            nearest, scores = joined.index[:, 0], neighbour_distance_ratio(joined)
            if not (kept := _has_few_ties(joined)).all():
                nearest, scores = nearest[kept], scores[kept]
            if len(nearest):
                pool.append(nearest[_lowest_per_item(nearest, scores, random)].numpy())
    first = next(iter(spaces.values()))
    n, m = len(first.sample_to_train.index), len(first.held_out_to_train.index)
    membership = enrichment_p_value(pool, np.arange(n_train + n_held_out) < n_train, random) if pool else 1.0
    closeness = enrichment_p_value(tails, np.arange(n + m) < n, random)
    p = min(1.0, 2 * min(membership, closeness))
    return Alarm(p <= level, p, membership, closeness)


def min_detectable_copies(n_train: int, n_held_out: int, n: int, m: int, level: float = 0.025) -> int:
    """Return how many copies of distinct images, among n samples compared with m held-out ones, raise the alarm."""
    return ceil(log(level / 2) / log(min(n_train / (n_train + n_held_out), n / (n + m))))


def neighbour_distance_ratio(neighbours: Neighbours) -> Tensor:
    """Distance of the nearest over that of the tenth, or the last if there are fewer: [n], float64; 0 for a copy."""
    distance = neighbours.distance
    first, unit = distance[:, 0], distance[:, min(UNIT_NEIGHBOUR, distance.shape[1]) - 1]
    return torch.where(first == 0, 0.0, first / unit)


def _has_few_ties(neighbours: Neighbours) -> Tensor:
    """Whether the nearest is nearer than the tenth, bool [n].

    If ten members of the pool are equally near, as of short texts, there may be more than the ten nearest of each set,
    so that the share of training images among those that were found is not that of the pool.
    """
    distance = neighbours.distance
    if distance.shape[1] < UNIT_NEIGHBOUR:
        return torch.ones(len(distance), dtype=torch.bool)
    return distance[:, 0] < distance[:, UNIT_NEIGHBOUR - 1]


def _lowest_per_item(item: Tensor, scores: Tensor, random: np.random.Generator) -> Tensor:
    """Return the query with the lowest score of each item, sorted by score, with ties in random order."""
    shuffled = torch.from_numpy(random.permutation(len(scores)))  # otherwise ties would favour the first queries
    order = shuffled[scores[shuffled].argsort(stable=True)]
    _, first = np.unique(item[order].numpy(), return_index=True)
    return order[torch.from_numpy(np.sort(first))]


def enrichment_p_value(
    orders: Sequence[np.ndarray], marked: np.ndarray, random: np.random.Generator, draws: int = DRAWS
) -> float:
    """p of the hypothesis that the marks, bool [N], are random, against too many marks at the front of any order.

    Each order, int64, contains some of the N, each once.  Exact for any orders, however they depend on each other.
    """
    used = np.unique(np.concatenate(orders))
    positions = [np.searchsorted(used, order) for order in orders]
    total, good = len(marked), int(marked.sum())
    observed = _smallest_tail(marked[used][None], positions, total, good)[0]
    as_low, remaining = 0, draws
    while remaining:
        block = min(remaining, max(1, 2_000_000 // len(used)))
        marks = _random_marks(len(used), total, good, block, random)
        as_low += int((_smallest_tail(marks, positions, total, good) <= observed).sum())
        remaining -= block
    return (1 + as_low) / (1 + draws)


def _random_marks(n: int, total: int, good: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """Draw bool [draws, n]: the marks of n out of `total`, of which `good` are marked at random."""
    number = random.hypergeometric(good, total - good, n, draws)
    keys = random.random((draws, n))
    bound = np.concatenate([np.sort(keys, 1), np.full((draws, 1), 2.0)], 1)[np.arange(draws), number]
    return keys < bound[:, None]


def _smallest_tail(marks: np.ndarray, positions: Sequence[np.ndarray], total: int, good: int) -> np.ndarray:
    """Smallest log tail probability over orders and K, [draws]."""
    smallest = np.zeros(len(marks))
    for order in positions:
        n = len(order)
        grid = np.unique(np.geomspace(min(MIN_K, n), n, STEPS).round().astype(int))
        counts = marks[:, order].cumsum(1)[:, grid - 1]
        for column, k in enumerate(grid.tolist()):
            smallest = np.minimum(smallest, _log_tail(k, total, good)[counts[:, column]])
    return smallest


@lru_cache(maxsize=1024)
def _log_tail(k: int, total: int, good: int) -> np.ndarray:
    """log P(at least c marked among k drawn), for c = 0 .. k."""
    tail = hypergeom.pmf(np.arange(k + 1), total, good, k)[::-1].cumsum()[::-1]
    return np.log(np.maximum(tail, np.finfo(np.float64).tiny))
