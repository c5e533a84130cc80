"""TokenLSTM is a distribution over sequences, samples from it exactly, and ends sequences."""

from itertools import product

import pytest
import torch

from saddlepoint.layer.token_lstm import TokenLSTM
from saddlepoint.stream import Stream

V, T = 3, 3
EVERY = torch.tensor(list(product(range(V), repeat=T)))


def network(end=None, seed=0):
    torch.manual_seed(seed)
    lstm = TokenLSTM(V, 4, 5, end).double().requires_grad_(False)
    for parameter in lstm.parameters():
        parameter.normal_(generator=torch.Generator().manual_seed(seed))
    return lstm


@pytest.mark.parametrize("end", [None, 0, 2])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_probabilities_of_all_sequences_sum_to_1(end, temperature):
    log_p = network(end).log_probabilities(EVERY, temperature).sum(1)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    if end is not None:
        assert (log_p.isinf() == torch.tensor([ends_early(row, end) for row in EVERY.tolist()])).all()


def ends_early(row, end):
    """Whether another token follows the end."""
    return any(row[i] == end and row[i + 1] != end for i in range(T - 1))


@pytest.mark.parametrize("end", [None, 0])
def test_samples_have_the_frequencies_of_their_probabilities(end):
    lstm, n = network(end), 20_000
    tokens, _, log_p = lstm.sample(Stream(0, "noise").gumbel(n, T, V).double(), 0.7)
    torch.testing.assert_close(log_p, lstm.log_probabilities(tokens, 0.7))
    p = lstm.log_probabilities(EVERY, 0.7).sum(1).exp()
    frequency = (tokens @ torch.tensor([V**2, V, 1])).bincount(minlength=V**T) / n
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1e-12).all()


def test_a_low_temperature_gives_the_most_likely_token_at_each_position():
    lstm = network()
    tokens, _, log_p = lstm.sample(Stream(0, "noise").gumbel(50, T, V).double(), 1e-6)
    assert len(tokens.unique(dim=0)) == 1
    assert log_p.sum().item() == pytest.approx(0, abs=1e-6)


def test_the_argmax_of_the_perturbed_logits_is_the_token():
    tokens, perturbed, _ = network().sample(Stream(0, "noise").gumbel(50, T, V).double())
    assert (perturbed.argmax(-1) == tokens).all()
