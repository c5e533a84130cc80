"""Dirac-GAN: one round is a map of the plane, whose derivative has a closed form.

Mescheder et al. 2018 (arXiv:1801.04406), section 2.2 and lemmas 2.3, 2.4: D(x) = psi x, G(z) = theta, the real is 0.
"""

from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch
from play import Watch, fit, game

from saddlepoint.architecture import dirac
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2
from saddlepoint.turn import Batch

H = 0.2  # step of plain gradient descent


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


# first and second derivatives, in the fake's logit t = psi theta (the real's is 0), of D's loss and of G's
LOSSES = {
    "minimax": (
        (sigmoid, lambda t: sigmoid(t) * sigmoid(-t)),
        (lambda t: -sigmoid(t), lambda t: -sigmoid(t) * sigmoid(-t)),
    ),
    "nonsaturating": (
        (sigmoid, lambda t: sigmoid(t) * sigmoid(-t)),
        (lambda t: -sigmoid(-t), lambda t: sigmoid(t) * sigmoid(-t)),
    ),
    "hinge": ((lambda t: 1.0, lambda t: 0.0), (lambda t: -1.0, lambda t: 0.0)),
    "wasserstein": ((lambda t: 1.0, lambda t: 0.0), (lambda t: -1.0, lambda t: 0.0)),
    "least_squares": ((lambda t: t, lambda t: 1.0), (lambda t: t - 1, lambda t: 1.0)),
    "relativistic": (
        (sigmoid, lambda t: sigmoid(t) * sigmoid(-t)),
        (lambda t: -sigmoid(-t), lambda t: sigmoid(t) * sigmoid(-t)),
    ),
}
# first and second derivatives of the penalties in psi > 0
GAMMA = 0.7
PENALTIES = {
    "none": ({}, lambda p: 0.0, lambda p: 0.0),
    "r1": ({"r1": partial(R1, GAMMA)}, lambda p: GAMMA * p, lambda p: GAMMA),
    "r2": ({"r2": partial(R2, GAMMA)}, lambda p: GAMMA * p, lambda p: GAMMA),
    "r1, r2": ({"r1": partial(R1, GAMMA), "r2": partial(R2, GAMMA)}, lambda p: 2 * GAMMA * p, lambda p: 2 * GAMMA),
    "gradient_penalty": (
        {"gradient_penalty": partial(GradientPenalty, GAMMA)},
        lambda p: 2 * GAMMA * (p - 1),
        lambda p: 2 * GAMMA,
    ),
}


def closed_form(objective, penalty, rule, theta, psi):
    """The derivative of one round at (theta, psi), 2 x 2."""
    (b1, b2), (c1, c2) = LOSSES[objective]
    _, p1, p2 = PENALTIES[penalty]

    def of_d(theta, psi):  # d psi' / d (theta, psi), psi' = psi - h (b1(t) theta + p1(psi))
        t = theta * psi
        return [-H * (b1(t) + b2(t) * t), 1 - H * (b2(t) * theta**2 + p2(psi))]

    def of_g(theta, psi):  # d theta' / d (theta, psi), theta' = theta - h c1(t) psi
        t = theta * psi
        return [1 - H * c2(t) * psi**2, -H * (c1(t) + c2(t) * t)]

    if rule == "simultaneous":
        return np.array([of_g(theta, psi), of_d(theta, psi)])
    moved = psi - H * (b1(theta * psi) * theta + p1(psi))
    return np.array([of_g(theta, moved), [0.0, 1.0]]) @ np.array([[1.0, 0.0], of_d(theta, psi)])


def measured(objective, penalty, rule, theta, psi, step=1e-5):
    """The derivative of one round as played, by central differences in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        nets = dirac.Generator([1]), dirac.Discriminator([1])
        terms = {name: make() for name, make in PENALTIES[penalty][0].items()}
        module = import_module(f"saddlepoint.objective.{objective}")
        plays = game(module, terms, rule, partial(torch.optim.SGD, lr=H), nets=nets)
        starts = [(theta + step, psi), (theta - step, psi), (theta, psi + step), (theta, psi - step)]
        ends = []

        def before(g, i):
            nets[0].theta.data.fill_(starts[i][0])
            nets[1].psi.data.fill_(starts[i][1])

        def after(g, i):
            ends.append([nets[0].theta.item(), nets[1].psi.item()])

        fit(plays, [Batch(torch.zeros(3, 1)) for _ in starts], [Watch(before, after)])
    finally:
        torch.set_default_dtype(torch.float32)
    ends = np.array(ends)
    return np.stack([ends[0] - ends[1], ends[2] - ends[3]], axis=1) / (2 * step)


def sorted_eigenvalues(matrix):
    return sorted(np.linalg.eigvals(matrix.astype(complex)), key=lambda e: (round(e.real, 7), round(e.imag, 7)))


@pytest.mark.parametrize("rule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("objective", LOSSES)
def test_the_eigenvalues_of_one_round_match_the_closed_form(objective, penalty, rule):
    points = [(0.3, 0.7)]
    if penalty != "gradient_penalty":  # which has no derivative at the equilibrium: that is why it does not converge
        points.append((0.0, 0.0))
    for theta, psi in points:
        ours, theirs = measured(objective, penalty, rule, theta, psi), closed_form(objective, penalty, rule, theta, psi)
        assert np.abs(ours - theirs).max() < 1e-8
        assert np.allclose(sorted_eigenvalues(ours), sorted_eigenvalues(theirs), atol=1e-4)


def test_unpenalised_play_has_the_papers_eigenvalues_at_the_equilibrium():
    """Lemma 2.3: 1 +- i h f'(0), longer than 1; lemma 2.4: alternating play stays on the circle.  f'(0) = 1/2."""
    simultaneous = sorted_eigenvalues(measured("minimax", "none", "simultaneous", 0.0, 0.0))
    assert np.allclose(simultaneous, [1 - 0.5j * H, 1 + 0.5j * H], atol=1e-6)
    alternating = sorted_eigenvalues(measured("minimax", "none", "alternating", 0.0, 0.0))
    assert np.allclose(np.abs(alternating), 1.0, atol=1e-6)


def test_r1_moves_the_eigenvalues_inside_the_unit_circle():
    """Theorem 4.1 at work: with r1 both rules contract at the equilibrium."""
    for rule in ("alternating", "simultaneous"):
        assert np.abs(sorted_eigenvalues(measured("minimax", "r1", rule, 0.0, 0.0))).max() < 1
