"""Poisson sampling: every item with the same probability, independently, as a function of the number of the batch."""

import torch
from scipy.stats import chi2

from saddlepoint.privacy.poisson_sampling import poisson_sample

N, RATE, BATCHES = 50, 0.3, 4000


def memberships() -> torch.Tensor:
    """Which items are in which batch, [batches, items]."""
    member = torch.zeros(BATCHES, N)
    for number in range(BATCHES):
        member[number, poisson_sample(N, RATE, 7, number)] = 1
    return member


def test_every_item_is_in_a_batch_with_the_rate_independently_of_the_others_and_of_other_batches() -> None:
    member = memberships()
    variance = RATE * (1 - RATE)
    statistic = ((member.mean(0) - RATE) ** 2 * BATCHES / variance).sum().item()
    assert chi2(N).ppf(1e-4) < statistic < chi2(N).ppf(1 - 1e-4)
    centred = (member - RATE) / variance**0.5
    pairs = (centred.T @ centred / BATCHES**0.5)[torch.triu(torch.ones(N, N), 1) == 1]
    assert abs(pairs.square().mean().item() - 1) < 0.2  # standard normal if independent
    serial = (centred[1:] * centred[:-1]).mean(0) * BATCHES**0.5
    assert abs(serial.square().mean().item() - 1) < 0.8


def test_the_size_of_a_batch_is_binomial_and_can_be_zero() -> None:
    sizes = memberships().sum(1)
    assert abs(sizes.mean().item() - N * RATE) < 0.3
    assert abs(sizes.var().item() / (N * RATE * (1 - RATE)) - 1) < 0.1
    assert min(len(poisson_sample(3, 0.1, 0, number)) for number in range(20)) == 0


def test_a_rate_of_one_takes_all_and_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    assert poisson_sample(9, 1.0, 0, 0).tolist() == list(range(9))
    first = poisson_sample(N, RATE, 7, 3)
    torch.rand(5)
    assert poisson_sample(N, RATE, 7, 3).equal(first)
    assert not poisson_sample(N, RATE, 8, 3).equal(first)
