"""Sequences of the oracle: reproducible, with exact likelihoods, stored or drawn anew."""

from itertools import islice, product

import pytest
import torch

from saddlepoint.data import oracle
from saddlepoint.data.oracle import Oracle
from saddlepoint.error import Mistake


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(oracle, "HELD_OUT", 500)


def data(**settings):
    return Oracle(**{"symbols": 4, "length": 3, "shape": (3, 4), "number": 2_000, "batch": 8, **settings})


def test_likelihoods_sum_to_1_and_frequencies_follow_them():
    source = data(number=20_000)
    every = torch.tensor(list(product(range(4), repeat=3)))
    p = source.log_likelihood(every).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    frequency = (source.split("train").x @ torch.tensor([16, 4, 1])).bincount(minlength=64) / 20_000
    assert ((frequency - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt() + 1e-12).all()


def test_parameters_are_standard_normal():
    numbers = torch.cat([p.flatten() for p in Oracle().network.parameters()])
    assert abs(numbers.mean()) < 5 / len(numbers) ** 0.5
    assert abs(numbers.std() - 1) < 5 / (2 * len(numbers)) ** 0.5


def test_sequences_depend_on_draw_and_split_but_not_on_the_seed():
    assert data(seed=1).describe() == data(seed=2).describe()
    assert data(draw=1).split("test").sha256 != data().split("test").sha256
    assert len({split.sha256 for split in (data().split("test"), data().split("validation"))}) == 2


def test_fresh_batches_resume_and_divide_over_ranks():
    source = data(fresh=True, seed=3)
    batches = [batch.x for batch in islice(source.training_batches(0), 3)]
    assert torch.equal(next(source.training_batches(16)).x, batches[2])
    assert not torch.equal(batches[0], batches[1])
    halves = [next(source.training_batches(8, rank, 2)).x for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), batches[1])
    assert not torch.equal(next(data(fresh=True, seed=4).training_batches(0)).x, batches[0])


def test_building_it_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    data()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("settings", [{"symbols": 1}, {"length": 0}, {"number": 0}])
def test_impossible_numbers_are_refused(settings):
    (key,) = settings
    with pytest.raises(Mistake, match=f"data.{key}"):
        data(**settings)
