"""The plan of a private run: the noise of a budget, the epsilon of a noise, and settings that guarantee nothing."""

import math

import pytest

from saddlepoint.error import Mistake
from saddlepoint.privacy.accountant import spent_epsilon
from saddlepoint.privacy.guarantee import describe_privacy, plan_guarantee

MNIST = {"images": 60_000, "batch": 512, "steps": 200, "clip": 1.0}


def plan(noise=None, epsilon=None, delta=None, **changes):
    return plan_guarantee(**{**MNIST, **changes}, noise=noise, epsilon=epsilon, delta=delta)


def test_the_noise_of_a_budget_spends_it_at_the_planned_step_and_not_before() -> None:
    guarantee = plan(epsilon=2.0, delta=1e-5)
    assert 1.99 < guarantee.epsilon(200) <= 2.0
    assert guarantee.epsilon(100) < guarantee.epsilon(199) < guarantee.epsilon(200)
    assert guarantee.epsilon(210) > 2.0


def test_given_noise_spends_the_epsilon_of_the_accountant() -> None:
    guarantee = plan(noise=1.3, delta=1e-5, steps=7)
    assert guarantee.epsilon(50) == spent_epsilon(512 / 60_000, 1.3, 50, 1e-5)


def test_without_noise_there_is_no_guarantee_and_no_delta_is_needed() -> None:
    guarantee = plan(noise=0.0, clip=math.inf)
    facts = guarantee.facts(5)
    assert guarantee.epsilon(5) == math.inf
    assert (facts["epsilon"], facts["delta"], facts["clip"]) == (None, None, None)
    assert describe_privacy(facts).startswith("no privacy")


def test_the_facts_name_what_is_protected_and_what_is_not() -> None:
    facts = plan(noise=1.3, delta=1e-5).facts(50)
    line = describe_privacy(facts)
    assert facts["steps"] == 50
    assert "one training image" in line
    assert "after 50 steps" in line
    assert "scores" in line
    assert "knows the seed" in line
    assert "knows the seed" not in describe_privacy(plan(noise=1.3, delta=1e-5, secret=True).facts(50))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"epsilon": 10.0},
            r"game.epsilon=10 guarantees nothing without a delta: .* below 1/60,000 .*game.delta=1e-06",
        ),
        ({"noise": 1.0}, r"game.noise=1 guarantees nothing without a delta"),
        ({"epsilon": 10.0, "delta": 1 / 60_000}, r"game.delta=1.66667e-05 must be .* below 1/60,000"),
        ({"epsilon": 10.0, "delta": 0.0}, r"game.delta=0 must be above 0"),
        ({"delta": 1e-5}, r"neither is set"),
        ({"epsilon": 10.0, "noise": 1.0, "delta": 1e-5}, r"both are set"),
        ({"epsilon": 0.003, "delta": 1e-6}, r"game.epsilon=0.003: no noise gives it. .* above 0.00575"),
        ({"epsilon": math.inf, "delta": 1e-6}, r"game.epsilon=inf: no noise gives it. .* game.noise=0"),
        ({"epsilon": 0.0, "delta": 1e-5}, r"game.epsilon=0.0 must be above 0"),
        ({"noise": -1.0, "delta": 1e-5}, r"game.noise=-1.0 must be at least 0"),
        ({"noise": math.nan, "delta": 1e-5}, r"game.noise=nan"),
        ({"noise": 1.0, "delta": 1e-5, "clip": 0.0}, r"game.clip=0.0 must be above 0"),
        ({"noise": 1.0, "delta": 1e-5, "clip": math.inf}, r"game.clip must be finite with noise"),
        ({"noise": 1.0, "delta": 1e-5, "batch": 60_001}, r"batch=60001: an image cannot be in more than every batch"),
    ],
)
def test_settings_that_guarantee_nothing_are_refused(settings, message) -> None:
    with pytest.raises(Mistake, match=message):
        plan(**settings)
