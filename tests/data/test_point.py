import pytest
import torch

from saddlepoint.data.point import Point
from saddlepoint.error import Mistake


def test_every_split_and_batch_repeats_the_point():
    data = Point([0.5, -3], number=10, shape=[2], batch=32)
    for name in ("train", "validation", "test"):
        assert data.split(name).x.equal(torch.tensor([[0.5, -3.0]] * 10))
    batch = next(data.training_batches(7))
    assert batch.x.equal(torch.tensor([[0.5, -3.0]] * 32))
    assert batch.y is None


def test_the_default_is_the_dirac_gan():
    assert next(Point(batch=2).training_batches()).x.tolist() == [[0.0], [0.0]]


def test_a_point_of_another_dimension_than_the_facts_is_refused():
    with pytest.raises(Mistake, match=r"data\.shape=\[1\].*data\.shape=\[2\]"):
        Point([0.0, 0.0]).setup()
    with pytest.raises(Mistake, match=r"at least one coordinate"):
        Point([])
