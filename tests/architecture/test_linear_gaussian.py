"""Laws of the linear-Gaussian VAE: its bound and the closed form of the marginal likelihood (probabilistic PCA)."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from play import fit
from torch.distributions import MultivariateNormal

from saddlepoint.architecture.linear_gaussian import Encoder, Generator
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.kl import KL
from saddlepoint.regularizer.reconstruction import Reconstruction
from saddlepoint.turn import Batch, Sample, Turn

D, DIM, S2 = 5, 2, 0.25  # size of a sample, size of a latent, variance of p(x|z)
CONSTANT = D / 2 * math.log(2 * math.pi * S2)
STREAM = torch.Generator().manual_seed(0)
MIX = torch.randn(D, D, generator=STREAM, dtype=torch.float64)
DATA = 1 + torch.randn(400, D, generator=STREAM, dtype=torch.float64) @ MIX


def terms(encoder, generator, x, noise):
    """Return kl and the weighted reconstruction as computed by the terms of a game."""
    code, q = encoder(x, {"noise": noise})
    samples = {"code": Sample(code, {}, None, extra_output=q), "reconstruction": Sample(generator(code), {}, None),
               "real": Sample(x, {}, None)}  # fmt: skip
    turn = Turn(dict.fromkeys(samples), {}, Batch(x), {}, samples=samples)
    distance = Reconstruction(side="reconstruction", target="real", absolute=False)
    return KL()(turn), D / (2 * S2) * distance(turn)


def bound(encoder, generator, x):
    """Return the exact ELBO per sample: the mean of a quadratic over q is its mean over 2 DIM points at +-sqrt(DIM)."""
    elbo = 0
    for i in range(DIM):
        for sign in (-1, 1):
            noise = torch.zeros(len(x), DIM, dtype=x.dtype)
            noise[:, i] = sign * DIM**0.5
            elbo = elbo - sum(terms(encoder, generator, x, noise)) / (2 * DIM)
    return elbo - CONSTANT


def likelihood(generator, x):
    """Return log N(x; m, W W^T + s^2 I), the mean over samples."""
    w, m = generator.linear.weight.detach(), generator.linear.bias.detach()
    return MultivariateNormal(m, w @ w.T + S2 * torch.eye(D, dtype=w.dtype)).log_prob(x).mean()


def best(x):
    """Return the maximum of the likelihood over W and m: Tipping & Bishop 1999, eq. 8."""
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    top, remaining = values[:DIM], values[DIM:]
    return -(D * math.log(2 * math.pi) + top.log().sum() + (D - DIM) * math.log(S2) + DIM + remaining.sum() / S2) / 2


def optimal(columns):
    """Return a generator with these columns, and the encoder that is its posterior if they are orthogonal."""
    generator, encoder = Generator(DIM, [D]).double(), Encoder([D], DIM).double()
    with torch.no_grad():
        generator.linear.weight.copy_(columns)
        generator.linear.bias.copy_(DATA.mean(0))
        m = columns.T @ columns + S2 * torch.eye(DIM, dtype=torch.float64)
        encoder.mean.weight.copy_(torch.linalg.solve(m, columns.T))
        encoder.mean.bias.copy_(-encoder.mean.weight @ DATA.mean(0))
        encoder.log_variance.copy_((S2 / m.diagonal()).log())
    return encoder, generator


def principal():
    """Return the maximum-likelihood W: principal axes times sqrt(eigenvalue - s^2)."""
    values, axes = torch.linalg.eigh(torch.cov(DATA.T, correction=0))
    return axes[:, -DIM:] * (values[-DIM:] - S2).sqrt()


def test_the_terms_equal_the_bound_of_two_gaussians_up_to_the_stated_constant():
    torch.manual_seed(1)
    encoder, generator = Encoder([D], DIM).double(), Generator(DIM, [D]).double()
    noise = torch.randn(len(DATA), DIM, dtype=torch.float64)
    code, (mean, log_variance) = encoder(DATA, {"noise": noise})
    log_likelihood = torch.distributions.Normal(generator(code), S2**0.5).log_prob(DATA).sum(1).mean()
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros_like(mean), 1.0)).sum(1).mean()
    term_kl, term_distance = terms(encoder, generator, DATA, noise)
    torch.testing.assert_close(term_kl, kl)
    torch.testing.assert_close(-term_distance - CONSTANT, log_likelihood)


def test_the_optimal_encoder_attains_the_marginal_likelihood_and_others_stay_below():
    encoder, generator = optimal(principal())
    torch.testing.assert_close(bound(encoder, generator, DATA), likelihood(generator, DATA))
    torch.testing.assert_close(likelihood(generator, DATA), best(DATA))
    with torch.no_grad():
        encoder.log_variance += 0.3
    gap = likelihood(generator, DATA) - bound(encoder, generator, DATA)
    torch.testing.assert_close(gap, torch.tensor(DIM * (math.exp(0.3) - 1 - 0.3) / 2, dtype=torch.float64))
    skewed = principal() @ torch.tensor([[1.0, 0.6], [0.0, 0.8]], dtype=torch.float64)
    encoder, generator = optimal(skewed)
    assert bound(encoder, generator, DATA) < likelihood(generator, DATA) - 1e-3, "its posterior is not diagonal"


def test_training_approaches_the_maximum_of_the_likelihood():
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(2)
        weight, adam = D / (2 * S2), partial(torch.optim.Adam, lr=0.02)

        def distance():
            return Reconstruction(weight=weight, side="reconstruction", target="x", absolute=False)

        players = {
            "encoder": Player(Encoder([D], DIM), adam, None, {"kl": KL(), "reconstruction": distance()}),
            "generator": Player(Generator(DIM, [D]), adam, None, {"reconstruction": distance()}),
        }
        sides = {
            "code": {"by": "encoder", "of": "x", "condition": {"noise": "noise.z"}},
            "reconstruction": {"by": "generator", "of": "code"},
            "fake": {"by": "generator"},
        }
        plays = Game(players, Prior(z=Normal(DIM)), sides=sides, order=[["encoder", "generator"]],
                   draws={"noise": Prior(z=Normal(DIM))})  # fmt: skip
        start = bound(plays.player("encoder").network, plays.player("generator").network, DATA)
        fit(plays, [Batch(DATA)] * 800)
    finally:
        torch.set_default_dtype(torch.float32)
    encoder, generator = plays.player("encoder").network, plays.player("generator").network
    reached, ceiling = bound(encoder, generator, DATA).item(), best(DATA).item()
    assert reached <= likelihood(generator, DATA).item() <= ceiling
    assert ceiling - reached < 0.02 * (ceiling - start.item())
    assert plays.float().sample(6).shape == (6, D)


def test_an_encoder_without_noise_raises_an_error_that_names_it():
    with pytest.raises(Mistake, match="the encoder reads the condition noise"):
        Encoder([D], DIM)(torch.randn(2, D), {})
