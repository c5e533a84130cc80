"""Standard errors: textbook formulas, coverage of intervals, and why samples are not drawn twice."""

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
    drop_order_dependent_errors,
    generation_spread,
    jackknife,
    measure_standard_errors,
)
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.identity import Identity
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.frechet_distance import FrechetDistance, frechet_distance


def gaussian(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_of(x: Tensor) -> Values:
    return lambda keep: {"mean": x[keep].mean().item()}


def diagonal_distance(real: Tensor, fake: Tensor) -> float:
    """Frechet distance of Gaussians with diagonal covariances, which is fast enough for 8,000 evaluations."""
    means, widths = real.mean(0) - fake.mean(0), real.std(0) - fake.std(0)
    return (means.square() + widths.square()).sum().item()


def distance_of(real: Tensor, fake: Tensor) -> float:
    return frechet_distance(real.mean(0), torch.cov(real.T), fake.mean(0), torch.cov(fake.T)).item()


# ------------------------------------------------------------------------------------------------------- the jackknife


def test_leaving_out_one_sample_at_a_time_gives_the_textbook_error_of_a_mean() -> None:
    x = gaussian(50, 1, 0).squeeze(1)
    assert jackknife(mean_of(x), 50, 50)["mean"] == pytest.approx(x.std().item() / math.sqrt(50), rel=1e-12)


def test_leaving_out_a_group_at_a_time_gives_the_textbook_error_on_average() -> None:
    x = gaussian(103, 1, 0).squeeze(1)  # groups of 10 and of 11
    squares = [jackknife(mean_of(x), 103, 10, seed)["mean"] ** 2 for seed in range(300)]
    assert np.mean(squares) == pytest.approx(x.var().item() / 103, rel=0.1)


def test_samples_ordered_by_class_do_not_increase_the_error() -> None:
    x = torch.arange(10.0).repeat_interleave(100)  # a group of 100 consecutive samples would be a class
    errors = [jackknife(mean_of(x), 1000, 10, seed)["mean"] ** 2 for seed in range(50)]
    assert math.sqrt(np.mean(errors)) == pytest.approx(x.std().item() / math.sqrt(1000), rel=0.15)
    contiguous = [torch.cat([x[:i], x[i + 100 :]]).mean().item() for i in range(0, 1000, 100)]
    assert math.sqrt(9 * np.var(contiguous)) > 0.9  # ten times the textbook's 0.09


def test_equal_seeds_give_equal_errors_and_remaining_samples_stay_in_order() -> None:
    x, indices = gaussian(40, 1, 0).squeeze(1), []

    def values(keep: Tensor) -> dict[str, float]:
        indices.append(keep)
        return {"mean": x[keep].mean().item()}

    assert jackknife(values, 40, 7, 3) == jackknife(values, 40, 7, 3) != jackknife(values, 40, 7, 4)
    assert all(torch.equal(keep, keep.sort().values) for keep in indices)
    left_out = torch.cat([torch.tensor([i for i in range(40) if i not in keep]) for keep in indices[:7]])
    assert left_out.sort().values.tolist() == list(range(40))  # each is left out once


@pytest.mark.parametrize(("n", "groups"), [(10, 1), (10, 11), (1, 2), (10, 0)])
def test_impossible_numbers_of_groups_are_refused(n: int, groups: int) -> None:
    with pytest.raises(Mistake, match=f"groups={groups}"):
        jackknife(lambda keep: {"a": 0.0}, n, groups)


def test_a_score_that_a_subset_lacks_is_left_out() -> None:
    errors = jackknife(lambda keep: {"a": 1.0} | ({"b": 2.0} if 0 in keep else {}), 10, 5)
    assert errors == {"a": 0.0}


def test_the_interval_of_a_distance_covers_its_expectation_in_95_of_100_cases() -> None:
    """200 experiments: N(0, I) against N(0.5, 1.2^2 I), 150 reals and 100 fakes, jackknife over both."""
    repetitions, values, half_widths = 200, [], []
    for seed in range(repetitions):
        real, fake = gaussian(150, 2, seed), 0.5 + 1.2 * gaussian(100, 2, 10_000 + seed)
        over_reals = jackknife(lambda keep, r=real, f=fake: {"d": diagonal_distance(r[keep], f)}, 150)["d"]
        over_fakes = jackknife(lambda keep, r=real, f=fake: {"d": diagonal_distance(r, f[keep])}, 100)["d"]
        values.append(diagonal_distance(real, fake))
        half_widths.append(1.96 * math.hypot(over_reals, over_fakes))
    expected = float(np.mean(values))  # includes the bias at this n
    coverage = np.mean([abs(value - expected) < width for value, width in zip(values, half_widths, strict=True)])
    assert 0.90 <= coverage <= 0.98


def test_a_bootstrap_of_the_distance_is_biased_and_the_jackknife_is_not() -> None:
    """Why samples are not drawn twice: the distance of 600 fakes with 60 features is nearly all bias."""
    d, n, mu, sigma = 60, 600, torch.zeros(60), torch.eye(60)

    def distance(fake: Tensor) -> float:
        return frechet_distance(mu, sigma, fake.mean(0), torch.cov(fake.T)).item()

    fake = gaussian(n, d, 0)
    expected = float(np.mean([distance(gaussian(n, d, 1 + seed)) for seed in range(30)]))
    draws = torch.Generator().manual_seed(0)
    resampled = [distance(fake[torch.randint(n, (n,), generator=draws)]) for _ in range(200)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert low > 1.5 * distance(fake)  # the interval contains neither the estimate nor the true value
    width = 1.96 * jackknife(lambda keep: {"d": distance(fake[keep])}, n)["d"]
    assert abs(distance(fake) - expected) < width < high - low + expected
    assert width < expected / 2


# ------------------------------------------------------------------------------------------------- fresh generations


def test_generations_give_their_mean_and_standard_deviation() -> None:
    values = [{"fid": v, "kid": 0.0} for v in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert generation_spread(values) == {"fid": (3.0, pytest.approx(math.sqrt(2.5))), "kid": (0.0, 0.0)}


def test_fewer_than_five_generations_are_refused() -> None:
    with pytest.raises(Mistake, match=r"4 generations.*at least 5"):
        generation_spread([{"fid": 1.0}] * 4)


def test_a_score_that_a_generation_lacks_has_no_spread() -> None:
    assert set(generation_spread([{"fid": 1.0, "kid": 1.0}] * 4 + [{"fid": 1.0}])) == {"fid"}


# -------------------------------------------------------------------------------------------------- an evaluation


def test_an_error_due_to_the_choices_of_a_score_is_dropped() -> None:
    x = gaussian(400, 1, 0).squeeze(1)

    def values(keep: Tensor) -> dict[str, float]:
        chosen = keep[torch.randperm(len(keep), generator=torch.Generator().manual_seed(0))[:40]]
        return {"all": x[keep].mean().item(), "forty": x[chosen].mean().item()}

    errors = jackknife(values, 400)
    assert errors["forty"] > 2 * x.std().item() / math.sqrt(40)  # increased by its choices
    assert drop_order_dependent_errors(values, errors, 400) == {"all": errors["all"]}


@pytest.fixture
def evaluator() -> Evaluator:
    messages: list[str] = []
    evaluator = Evaluator(Identity((3,)), {"fid": FrechetDistance(), "coverage": Coverage()}, 100, log=messages.append)
    evaluator.messages = messages  # pyright: ignore[reportAttributeAccessIssue]
    return evaluator


def test_the_errors_of_an_evaluation_match_the_jackknife_of_its_scores(points: Callable, evaluator: Evaluator) -> None:
    split = points().split("train")
    fakes, reals = Features(gaussian(300, 3, 1).float()), Features(split.x)
    errors = measure_standard_errors(evaluator, fakes, reals, split, fixed_fakes=True)

    def over_reals(keep: Tensor) -> dict[str, float]:
        return {"fid": distance_of(split.x[keep].double(), fakes.features.double())}

    assert errors["fid"].reals == pytest.approx(jackknife(over_reals, 300)["fid"], rel=1e-8)
    assert (errors["fid"].fakes or 0) > 0
    assert 0 < (errors["coverage"].reals or 0) < 0.1


def test_a_score_that_chooses_among_the_reals_has_an_error_over_as_many_as_fakes(
    points: Callable, evaluator: Evaluator
) -> None:
    split = points(sizes=(3000, 5, 5)).split("train")
    fakes = gaussian(100, 3, 1).float()
    errors = measure_standard_errors(evaluator, Features(fakes), Features(split.x), split)
    assert errors["coverage"].fakes is None
    # a coverage of about 0.9 over 100 reals has a binomial error of 0.03; with its choices the jackknife gives 0.15
    assert 0.01 < (errors["coverage"].reals or 0) < 0.07
    over_all = jackknife(lambda keep: {"fid": distance_of(split.x[keep].double(), fakes.double())}, 3000)
    assert errors["fid"].reals == pytest.approx(over_all["fid"], rel=1e-8)  # over all 3,000
    assert evaluator.messages == []  # pyright: ignore[reportAttributeAccessIssue]


def test_fakes_of_a_generator_have_no_jackknife_error(points: Callable, evaluator: Evaluator) -> None:
    split = points().split("train")
    errors = measure_standard_errors(evaluator, Features(gaussian(300, 3, 1).float()), Features(split.x), split)
    assert {name: spread.fakes for name, spread in errors.items()} == {"fid": None, "coverage": None}
