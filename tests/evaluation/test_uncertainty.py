"""Standard errors: the textbook's where there is one, intervals that cover, and why nothing is drawn twice."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.uncertainty import (
    Values,
    drop_order_dependent,
    generation_spread,
    jackknife,
    standard_errors,
)
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.frechet_distance import FrechetDistance, frechet_distance


def drawn(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_of(x: Tensor) -> Values:
    return lambda keep: {"mean": x[keep].mean().item()}


def aligned(real: Tensor, fake: Tensor) -> float:
    """The Frechet distance of Gaussians with independent axes: fast enough for 8,000."""
    means, widths = real.mean(0) - fake.mean(0), real.std(0) - fake.std(0)
    return (means.square() + widths.square()).sum().item()


def distance_of(real: Tensor, fake: Tensor) -> float:
    return frechet_distance(real.mean(0), torch.cov(real.T), fake.mean(0), torch.cov(fake.T)).item()


# ------------------------------------------------------------------------------------------------------- the jackknife


def test_without_one_sample_at_a_time_the_error_of_a_mean_is_the_textbooks() -> None:
    x = drawn(50, 1, 0).squeeze(1)
    assert jackknife(mean_of(x), 50, 50)["mean"] == pytest.approx(x.std().item() / math.sqrt(50), rel=1e-12)


def test_without_a_group_at_a_time_the_error_of_a_mean_is_the_textbooks_on_average() -> None:
    x = drawn(103, 1, 0).squeeze(1)  # groups of 10 and of 11
    squares = [jackknife(mean_of(x), 103, 10, seed)["mean"] ** 2 for seed in range(300)]
    assert np.mean(squares) == pytest.approx(x.var().item() / 103, rel=0.1)


def test_classes_that_stand_in_order_do_not_swell_the_error() -> None:
    x = torch.arange(10.0).repeat_interleave(100)  # a group of 100 neighbours would be a class
    errors = [jackknife(mean_of(x), 1000, 10, seed)["mean"] ** 2 for seed in range(50)]
    assert math.sqrt(np.mean(errors)) == pytest.approx(x.std().item() / math.sqrt(1000), rel=0.15)
    by_place = [torch.cat([x[:i], x[i + 100 :]]).mean().item() for i in range(0, 1000, 100)]
    assert math.sqrt(9 * np.var(by_place)) > 0.9  # ten times the textbook's 0.09


def test_equal_seeds_give_equal_errors_and_the_kept_samples_stay_in_order() -> None:
    x, seen = drawn(40, 1, 0).squeeze(1), []

    def values(keep: Tensor) -> dict[str, float]:
        seen.append(keep)
        return {"mean": x[keep].mean().item()}

    assert jackknife(values, 40, 7, 3) == jackknife(values, 40, 7, 3) != jackknife(values, 40, 7, 4)
    assert all(torch.equal(keep, keep.sort().values) for keep in seen)
    left_out = torch.cat([torch.tensor([i for i in range(40) if i not in keep]) for keep in seen[:7]])
    assert left_out.sort().values.tolist() == list(range(40))  # each once


@pytest.mark.parametrize(("n", "groups"), [(10, 1), (10, 11), (1, 2), (10, 0)])
def test_groups_that_cannot_be_made_are_refused(n: int, groups: int) -> None:
    with pytest.raises(Mistake, match=f"groups={groups}"):
        jackknife(lambda keep: {"a": 0.0}, n, groups)


def test_a_score_that_a_subset_lacks_is_left_out() -> None:
    found = jackknife(lambda keep: {"a": 1.0} | ({"b": 2.0} if 0 in keep else {}), 10, 5)
    assert found == {"a": 0.0}


def test_the_interval_of_a_distance_covers_its_expectation_in_95_of_100_cases() -> None:
    """N(0, I) against N(0.5, 1.2^2 I), 150 reals and 100 fakes, both jackknifed: 200 experiments."""
    rounds, values, covers = 200, [], []
    for seed in range(rounds):
        real, fake = drawn(150, 2, seed), 0.5 + 1.2 * drawn(100, 2, 10_000 + seed)
        over_reals = jackknife(lambda keep, r=real, f=fake: {"d": aligned(r[keep], f)}, 150)["d"]
        over_fakes = jackknife(lambda keep, r=real, f=fake: {"d": aligned(r, f[keep])}, 100)["d"]
        values.append(aligned(real, fake))
        covers.append(1.96 * math.hypot(over_reals, over_fakes))
    expected = float(np.mean(values))  # biased at this n, as every distance is
    held = np.mean([abs(value - expected) < width for value, width in zip(values, covers, strict=True)])
    assert 0.90 <= held <= 0.98


def test_a_bootstrap_of_the_distance_lies_above_it_and_the_jackknife_about_it() -> None:
    """Why nothing is drawn twice: 600 fakes of 60 features, whose distance is nearly all bias."""
    d, n, mu, sigma = 60, 600, torch.zeros(60), torch.eye(60)

    def distance(fake: Tensor) -> float:
        return frechet_distance(mu, sigma, fake.mean(0), torch.cov(fake.T)).item()

    fake = drawn(n, d, 0)
    expected = float(np.mean([distance(drawn(n, d, 1 + seed)) for seed in range(30)]))
    draws = torch.Generator().manual_seed(0)
    again = [distance(fake[torch.randint(n, (n,), generator=draws)]) for _ in range(200)]
    low, high = np.quantile(again, [0.025, 0.975])
    assert low > 1.5 * distance(fake)  # the whole interval: it covers neither the point nor the truth
    width = 1.96 * jackknife(lambda keep: {"d": distance(fake[keep])}, n)["d"]
    assert abs(distance(fake) - expected) < width < high - low + expected
    assert width < expected / 2


# ------------------------------------------------------------------------------------------------- fresh generations


def test_generations_give_mean_and_standard_deviation_over_them() -> None:
    values = [{"fid": v, "kid": 0.0} for v in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert generation_spread(values) == {"fid": (3.0, pytest.approx(math.sqrt(2.5))), "kid": (0.0, 0.0)}


def test_fewer_than_five_generations_are_refused() -> None:
    with pytest.raises(Mistake, match=r"4 generations.*at least 5"):
        generation_spread([{"fid": 1.0}] * 4)


def test_a_score_that_a_generation_lacks_has_no_spread() -> None:
    assert set(generation_spread([{"fid": 1.0, "kid": 1.0}] * 4 + [{"fid": 1.0}])) == {"fid"}


# -------------------------------------------------------------------------------------------------- an evaluation


def test_an_error_that_is_made_of_a_scores_own_draws_is_dropped() -> None:
    x = drawn(400, 1, 0).squeeze(1)

    def values(keep: Tensor) -> dict[str, float]:
        some = keep[torch.randperm(len(keep), generator=torch.Generator().manual_seed(0))[:40]]
        return {"all": x[keep].mean().item(), "forty": x[some].mean().item()}

    errors = jackknife(values, 400)
    assert errors["forty"] > 2 * x.std().item() / math.sqrt(40)  # swollen by its draws
    assert drop_order_dependent(values, errors, 400) == {"all": errors["all"]}


@pytest.fixture
def evaluator() -> Evaluator:
    said: list[str] = []
    evaluator = Evaluator(Identity((3,)), {"fid": FrechetDistance(), "coverage": Coverage()}, 100, log=said.append)
    evaluator.said = said  # pyright: ignore[reportAttributeAccessIssue]
    return evaluator


def test_the_errors_of_an_evaluation_are_those_of_its_scores(points: Callable, evaluator: Evaluator) -> None:
    split = points().split("train")
    fakes, reals = Features(drawn(300, 3, 1).float()), Features(split.x)
    found = standard_errors(evaluator, fakes, reals, split, fixed_fakes=True)

    def over_reals(keep: Tensor) -> dict[str, float]:
        return {"fid": distance_of(split.x[keep].double(), fakes.features.double())}

    assert found["fid"].reals == pytest.approx(jackknife(over_reals, 300)["fid"], rel=1e-8)
    assert (found["fid"].fakes or 0) > 0
    assert 0 < (found["coverage"].reals or 0) < 0.1


def test_a_score_that_draws_among_the_reals_gets_its_error_over_as_many_as_there_are_fakes(
    points: Callable, evaluator: Evaluator
) -> None:
    split = points(sizes=(3000, 5, 5)).split("train")
    fakes = drawn(100, 3, 1).float()
    found = standard_errors(evaluator, Features(fakes), Features(split.x), split)
    assert found["coverage"].fakes is None
    # of a coverage of some 0.9 over 100 reals: binomial, 0.03; with its draws the jackknife says 0.15
    assert 0.01 < (found["coverage"].reals or 0) < 0.07
    over_all = jackknife(lambda keep: {"fid": distance_of(split.x[keep].double(), fakes.double())}, 3000)
    assert found["fid"].reals == pytest.approx(over_all["fid"], rel=1e-8)  # over all 3,000
    assert evaluator.said == []  # pyright: ignore[reportAttributeAccessIssue]


def test_a_generators_fakes_are_not_left_out(points: Callable, evaluator: Evaluator) -> None:
    split = points().split("train")
    found = standard_errors(evaluator, Features(drawn(300, 3, 1).float()), Features(split.x), split)
    assert {name: spread.fakes for name, spread in found.items()} == {"fid": None, "coverage": None}
