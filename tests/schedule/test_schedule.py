"""The values of each schedule."""

import math

import pytest

from saddlepoint.schedule.constant import Constant
from saddlepoint.schedule.cosine import Cosine
from saddlepoint.schedule.exponential import Exponential
from saddlepoint.schedule.linear import Linear
from saddlepoint.schedule.schedule import has_schedule, value_at
from saddlepoint.schedule.step import Step


@pytest.mark.parametrize("images", [0, 1, 10**9])
def test_a_constant_is_constant(images):
    assert Constant(3.5)(images) == 3.5


@pytest.mark.parametrize("kind", [Linear, Cosine])
def test_ramps_have_the_right_start_middle_and_end(kind):
    ramp = kind(2.0, 6.0, images=300, begin=100)
    assert [ramp(i) for i in (0, 100, 300, 10**9)] == [2.0, 2.0, 6.0, 6.0]
    assert ramp(200) == pytest.approx(4.0)
    assert ramp(150) == pytest.approx(3.0 if kind is Linear else 2 + 4 * (1 - math.cos(math.pi / 4)) / 2)


def test_an_exponential_has_a_constant_factor():
    ramp = Exponential(1.0, 0.01, images=300, begin=100)
    assert [ramp(i) for i in (0, 100, 150, 200, 300, 999)] == pytest.approx([1, 1, 0.1**0.5, 0.1, 0.01, 0.01])
    assert Exponential(2.0, 2.0, images=10)(5) == 2.0
    with pytest.raises(ValueError, match="positive"):
        Exponential(1.0, 0.0, images=10)


def test_a_step_multiplies_at_each_milestone():
    step = Step(1.0, [100, 200], 0.1)
    assert [step(i) for i in (0, 99, 100, 199, 200, 999)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("begin", [-1, 300, 500])
def test_a_ramp_that_ends_before_it_begins_is_refused(begin):
    with pytest.raises(ValueError, match="begin"):
        Linear(0, 1, images=300, begin=begin)


def test_schedules_in_lists_are_evaluated_and_numbers_are_unchanged():
    assert value_at([Linear(0.0, 1.0, images=10), 0.99], 5) == (0.5, 0.99)
    assert value_at(3, 5) == 3
    assert has_schedule([0.9, Constant(1)])
    assert not has_schedule([0.9, 0.99])
    assert not has_schedule(0.1)
