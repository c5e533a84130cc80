"""How far a score would move with other samples: the spread of fresh generations, and the delete-a-group jackknife.

    se^2 = (G - 1) / G  sum_g (theta_(-g) - mean)^2        theta_(-g): the score without group g, for G groups

Quenouille 1949 and Tukey 1958; for groups, Shao & Tu 1995 (The Jackknife and Bootstrap, section 2.3).  Samples are left
out, never drawn twice: a set with repeats has a covariance of less rank and neighbours at no distance.

The error is that of the score at its own n: about the n-biased expectation, not about the score of endless samples.
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

MIN_GENERATIONS = 5  # generations: the spread of four is known to a factor of two at best
ORDERS = 6  # in which a score is read to tell whether it draws among its samples

Values = Callable[[Tensor], Mapping[str, float]]  # the scores, by name, of the samples that an index keeps


def generation_spread(values: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation (n - 1) of each score over fresh generations, with the reals fixed.

    Raises Mistake for fewer than 5.  A score that a generation lacks is left out.
    """
    if len(values) < MIN_GENERATIONS:
        raise Mistake(
            f"{len(values)} generations do not show how far a score spreads: draw at least {MIN_GENERATIONS}."
        )
    return {name: (column.mean().item(), column.std().item()) for name, column in _columns(values).items()}


def _columns(values: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
    """Each score that all of `values` have, float64 [len(values)]."""
    names = [name for name in values[0] if all(name in one for one in values)]
    return {name: torch.tensor([float(one[name]) for one in values], dtype=torch.float64) for name in names}


def jackknife(values: Values, n: int, groups: int = 20, seed: int = 0) -> dict[str, float]:
    """The standard error of each score of n samples, by leaving out one of `groups` random groups at a time.

    `values` takes the index of the samples that stay, in their order.  Raises Mistake for fewer than 2 groups or more
    than n.  A score that some subset lacks is left out.
    """
    if not 2 <= groups <= n:
        raise Mistake(f"a jackknife leaves out one group of several: groups={groups}, and 2 to {n} can be made of {n}.")
    # groups by chance: stored sets are often ordered by class, and a missing class is no missing twentieth
    order = torch.randperm(n, generator=Stream(seed, "jackknife").generator)
    without = []
    for group in order.tensor_split(groups):
        keep = torch.ones(n, dtype=torch.bool)
        keep[group] = False
        without.append(values(keep.nonzero().squeeze(1)))
    variance = {name: column.var(correction=0).item() for name, column in _columns(without).items()}
    return {name: math.sqrt((groups - 1) * value) for name, value in variance.items()}


def drop_order_dependent(
    values: Values, errors: Mapping[str, float], n: int, groups: int = 20, seed: int = 0
) -> dict[str, float]:
    """Those `errors`, of `jackknife`, that tell of the samples, and not of a score's own draws among them.

    A score that reads some samples only, by a fixed permutation of their places, is drawn anew for each group, and the
    jackknife multiplies that variance by G - 1.  Read in another order it moves alike; where this explains more than a
    quarter of the squared error, the error is dropped.
    """
    stream = Stream(seed, "orders").generator
    read = [values(torch.randperm(n, generator=stream)) for _ in range(ORDERS)]
    kept = {}
    for name, column in _columns(read).items():
        if name not in errors:
            continue
        rounding = (1e-9 * column.abs().max().item()) ** 2  # of the same sums in another order
        if (groups - 1) * column.var().item() <= max(errors[name] ** 2 / 4, rounding):
            kept[name] = errors[name]
    return kept


def standard_errors(
    evaluator: Evaluator,
    fakes: Features,
    reals: Features,
    split: SplitLike,
    fixed_fakes: bool = False,
    groups: int = 20,
) -> dict[str, Uncertainty]:
    """The standard errors of every metric of these fakes against these reals, by metric.

    `folder`: the fakes are all that there is, so their own error is taken too; a generator is asked for fresh ones (see
    `generations`).  A metric that draws among many reals gets its error over as many reals as there are fakes; where
    it draws even then, or among the fakes, it has none, and a word says so.  Costs 26 evaluations per side, 52 where
    some metric draws among the reals.
    """

    def scores(fakes: Features, reals: Features) -> dict[str, float]:
        return {name: float(result.value) for name, result in evaluator.metric_results(fakes, reals, split).items()}

    def over_reals(some: Features) -> tuple[set[str], dict[str, float]]:
        return _errors(lambda keep: scores(fakes, some.select(keep)), len(some.features), groups)

    n_real, n_fake = len(reals.features), len(fakes.features)
    names, of_reals = over_reals(reals)
    if names - set(of_reals) and n_real > n_fake:
        chosen = torch.randperm(n_real, generator=Stream(0, "reals").generator)[:n_fake]
        of_reals = over_reals(reals.select(chosen))[1] | of_reals
    of_fakes: dict[str, float] = {}
    if fixed_fakes:
        also, of_fakes = _errors(lambda keep: scores(fakes.select(keep), reals), n_fake, groups)
        names |= also
    alone = {
        metric_name(name, suffix)
        for name, metric in evaluator.metrics.items()
        for suffix in metric.directions()
        if not metric.needs_reals
    }  # other reals would not move these
    for name in sorted(names):
        sides = [("reals", of_reals)] * (name not in alone) + [("fakes", of_fakes)] * fixed_fakes
        if lacking := [side for side, errors in sides if name not in errors]:
            evaluator.log(
                f"{name} has no standard error over {' and '.join(lacking)}: it draws some of them, reads them in "
                "order, or is not to be had with some left out."
            )
    return {
        name: Uncertainty(reals=None if name in alone else of_reals.get(name), fakes=of_fakes.get(name))
        for name in sorted(names)
    }


def _errors(values: Values, n: int, groups: int) -> tuple[set[str], dict[str, float]]:
    """The names that a jackknife gives, and the errors that are the samples' own."""
    errors = jackknife(values, n, groups)
    return set(errors), drop_order_dependent(values, errors, n, groups)
