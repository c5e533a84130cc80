"""Standard errors of scores: the deviation over new sets of samples, and the delete-a-group jackknife.

    se^2 = (G - 1) / G  sum_g (theta_(-g) - mean)^2        theta_(-g): the score without group g, for G groups

Quenouille 1949 and Tukey 1958; for groups, Shao & Tu 1995 (The Jackknife and Bootstrap, section 2.3).  Samples are left
out, never drawn twice: repeats would lower the rank of a covariance and put neighbours at distance 0.

The error is that of the score at its n, about its n-biased expectation, not about the limit of infinitely many samples.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Uncertainty
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.extractor.data_like import SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import metric_name
from saddlepoint.stream import Stream

MIN_GENERATIONS = 5  # sets of samples: four give the deviation to a factor of two at best
ORDERS = 6  # permutations of the samples that show whether a score depends on their order

Values = Callable[[Tensor], Mapping[str, float]]  # returns scores, by name, of the samples at an index


def generation_spread(values: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation (n - 1) of each score over new sets of fakes, with fixed reals.

    Raises Mistake for fewer than 5 sets.  A score that a set lacks is left out.
    """
    if len(values) < MIN_GENERATIONS:
        raise Mistake(f"{len(values)} generations do not give a standard deviation: draw at least {MIN_GENERATIONS}.")
    return {name: (column.mean().item(), column.std().item()) for name, column in _common_scores(values).items()}


def _common_scores(values: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
    """Return each score that all of `values` have, float64 [len(values)]."""
    names = [name for name in values[0] if all(name in one for one in values)]
    return {name: torch.tensor([float(one[name]) for one in values], dtype=torch.float64) for name in names}


def jackknife(values: Values, n: int, groups: int = 20, seed: int = 0) -> dict[str, float]:
    """Return the standard error of each score of n samples, leaving out one of `groups` random groups at a time.

    `values` takes the sorted index of the remaining samples.  Raises Mistake for fewer than 2 or more than n groups.  A
    score that some subset lacks is left out.
    """
    if not 2 <= groups <= n:
        raise Mistake(f"groups={groups}: a jackknife of {n} samples needs 2 to {n} groups.")
    # random groups: stored samples are often ordered by class, and leaving out a class is not leaving out a twentieth
    order = torch.randperm(n, generator=Stream(seed, "jackknife").generator)
    without = []
    for group in order.tensor_split(groups):
        keep = torch.ones(n, dtype=torch.bool)
        keep[group] = False
        without.append(values(keep.nonzero().squeeze(1)))
    variance = {name: column.var(correction=0).item() for name, column in _common_scores(without).items()}
    return {name: math.sqrt((groups - 1) * value) for name, value in variance.items()}


def drop_order_dependent_errors(
    values: Values, errors: Mapping[str, float], n: int, groups: int = 20, seed: int = 0
) -> dict[str, float]:
    """Keep the jackknife `errors` that are due to the samples, and drop those due to a score's choice among them.

    A score that uses some samples only, chosen by a fixed permutation of their positions, chooses again for each group,
    and the jackknife multiplies that variance by G - 1.  Such a score also changes with the order of the samples.  If
    this explains more than a quarter of the squared error, the error is dropped.
    """
    stream = Stream(seed, "orders").generator
    permuted = [values(torch.randperm(n, generator=stream)) for _ in range(ORDERS)]
    remaining = {}
    for name, column in _common_scores(permuted).items():
        if name not in errors:
            continue
        rounding = (1e-9 * column.abs().max().item()) ** 2  # of sums in another order
        if (groups - 1) * column.var().item() <= max(errors[name] ** 2 / 4, rounding):
            remaining[name] = errors[name]
    return remaining


def measure_standard_errors(
    evaluator: Evaluator,
    fakes: Features,
    reals: Features,
    split: SplitLike,
    fixed_fakes: bool = False,
    groups: int = 20,
) -> dict[str, Uncertainty]:
    """Return the standard errors of every metric of these fakes against these reals, by metric.

    `fixed_fakes`: the fakes are a stored set, so the error due to their choice is estimated too; for a generator, see
    `generation_spread`.  If a metric chooses among many reals, its error is estimated with as many reals as there are
    fakes.  If it still chooses, or chooses among the fakes, it has no error, and this is logged.  The price is 26
    evaluations per side, or 52 if some metric chooses among the reals.
    """

    def scores(fakes: Features, reals: Features) -> dict[str, float]:
        return {name: float(result.value) for name, result in evaluator.metric_results(fakes, reals, split).items()}

    def over_reals(reals: Features) -> tuple[set[str], dict[str, float]]:
        return _jackknife_errors(lambda keep: scores(fakes, reals.select(keep)), len(reals.features), groups)

    n_real, n_fake = len(reals.features), len(fakes.features)
    names, of_reals = over_reals(reals)
    if names - set(of_reals) and n_real > n_fake:
        chosen = torch.randperm(n_real, generator=Stream(0, "reals").generator)[:n_fake]
        of_reals = over_reals(reals.select(chosen))[1] | of_reals
    of_fakes: dict[str, float] = {}
    if fixed_fakes:
        more, of_fakes = _jackknife_errors(lambda keep: scores(fakes.select(keep), reals), n_fake, groups)
        names |= more
    independent = {  # of the reals
        metric_name(name, suffix)
        for name, metric in evaluator.metrics.items()
        for suffix in metric.directions()
        if not metric.needs_reals
    }
    for name in sorted(names):
        sides = [("reals", of_reals)] * (name not in independent) + [("fakes", of_fakes)] * fixed_fakes
        if missing := [side for side, errors in sides if name not in errors]:
            evaluator.log(
                f"{name} has no standard error over {' and '.join(missing)}: it chooses among them, depends on their "
                "order, or cannot be computed with some left out."
            )
    return {
        name: Uncertainty(reals=None if name in independent else of_reals.get(name), fakes=of_fakes.get(name))
        for name in sorted(names)
    }


def _jackknife_errors(values: Values, n: int, groups: int) -> tuple[set[str], dict[str, float]]:
    """Return the names of the scores, and the errors that `drop_order_dependent_errors` keeps."""
    errors = jackknife(values, n, groups)
    return set(errors), drop_order_dependent_errors(values, errors, n, groups)
