"""Terms of generators of tokens: maximum likelihood, and the policy gradient with D's density ratio."""

from itertools import product

import pytest
import torch
from torch.nn.functional import one_hot

from saddlepoint.architecture.recurrent import Generator
from saddlepoint.error import Mistake
from saddlepoint.regularizer.negative_log_likelihood import NegativeLogLikelihood
from saddlepoint.regularizer.policy_gradient import PolicyGradient
from saddlepoint.stream import Stream
from saddlepoint.turn import DiscriminatorOutput, Sample

V, T = 3, 2
EVERY = torch.tensor(list(product(range(V), repeat=T)))


def generator(seed):
    torch.manual_seed(seed)
    return Generator((T, V), 3, 4).double()


def log_p(network):
    return network(one_hot(EVERY, V).double())[1].sum(1)


def turn(x, log_probabilities, logits=None):
    judge = None if logits is None else lambda x, condition: DiscriminatorOutput(logits)
    return {"fake": Sample(x, {}, judge, extra_output=log_probabilities),
            "likelihood": Sample(x, {}, None, extra_output=log_probabilities)}  # fmt: skip


def test_the_negative_log_likelihood_is_the_mean_over_samples_and_tokens():
    x = one_hot(EVERY, V).double()
    network = generator(0)
    expected = -log_p(network).mean() / T
    torch.testing.assert_close(NegativeLogLikelihood()(turn(*network(x))), expected)


def test_the_policy_gradient_with_the_true_ratio_is_that_of_the_forward_divergence():
    target, network = generator(1), generator(2)
    with torch.no_grad():
        p = log_p(target).exp()
    exact = torch.autograd.grad((p * (p.log() - log_p(network))).sum(), list(network.parameters()))
    x, log_g = network({"noise": Stream(0, "noise").gumbel(20_000, T * V).double()})
    with torch.no_grad():
        ratio = target(x)[1].sum(1) - log_g.sum(1)
    estimate = torch.autograd.grad(PolicyGradient()(turn(x, log_g, ratio)), list(network.parameters()))
    for a, b in zip(exact, estimate, strict=True):
        torch.testing.assert_close(a, b, atol=0.02 * max(float(g.abs().max()) for g in exact), rtol=0.05)


def test_the_policy_gradient_is_0_if_d_finds_no_difference():
    x, log_g = generator(0)({"noise": Stream(0, "noise").gumbel(8, T * V).double()})
    term = PolicyGradient()(turn(x, log_g, torch.full((8, 4), 1.5)))
    assert term.item() == pytest.approx(0, abs=1e-12)


def test_a_network_without_log_probabilities_is_named():
    for term in (NegativeLogLikelihood(), PolicyGradient()):
        with pytest.raises(Mistake, match=r"log-probabilities \[N, T\].*architecture=recurrent"):
            term(turn(torch.zeros(2, T, V), None, torch.zeros(2)))
