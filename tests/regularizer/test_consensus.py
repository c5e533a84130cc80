"""Consensus: eigenvalues on the bilinear game, an independent implementation, and what each player's gradient is."""

from functools import partial

import numpy as np
import pytest
import torch
from play import Watch, batches, fit, game, networks

from saddlepoint.architecture import dirac
from saddlepoint.error import Mistake
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.objective import nonsaturating, relativistic, wasserstein
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.consensus import Consensus
from saddlepoint.turn import Batch

H, WEIGHT = 0.2, 0.7
ORDERS = {"simultaneous": [["discriminator", "generator"]], "alternating": [["discriminator"], ["generator"]]}


def consensus(objective, weight=WEIGHT):
    return Consensus({"discriminator": objective.discriminator, "generator": objective.generator}, weight)


def build(objective, nets, rule="simultaneous", terms=True):
    generator, discriminator = nets
    sgd = partial(torch.optim.SGD, lr=H)
    players = {
        "discriminator": Player(
            discriminator, sgd, objective.discriminator, {"consensus": consensus(objective)} if terms else {}
        ),
        "generator": Player(generator, sgd, objective.generator, {"consensus": consensus(objective)} if terms else {}),
    }
    return Game(players, Prior(z=Normal(3)), order=ORDERS[rule])


def played(objective, rule, rounds, start):
    torch.set_default_dtype(torch.float64)
    try:
        nets = dirac.Generator([1], start.real), dirac.Discriminator([1], start.imag)
        points = [start]
        after = Watch(after=lambda game, i: points.append(complex(nets[0].theta.item(), nets[1].psi.item())))
        fit(build(objective, nets, rule), [Batch(torch.zeros(3, 1))] * rounds, [after])
    finally:
        torch.set_default_dtype(torch.float32)
    return np.array(points)


def test_on_the_bilinear_game_the_eigenvalue_is_1_minus_h_weight_minus_i_h():
    """z = theta + i psi,  v = i z,  1/2 |v|^2 = 1/2 |z|^2: so z <- z - h (i z + weight z)."""
    points = played(wasserstein, "simultaneous", 6, 0.6 + 0.8j)
    assert np.allclose(points, (0.6 + 0.8j) * (1 - H * WEIGHT - 1j * H) ** np.arange(7), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", ORDERS)
def test_ten_rounds_equal_an_independent_implementation(rule):
    """The Dirac-GAN with the non-saturating loss; derivatives of 1/2 |v|^2 by central differences."""

    def sigmoid(t):
        return 1 / (1 + np.exp(-t))

    def v(theta, psi):
        return np.array([-psi * sigmoid(-psi * theta), theta * sigmoid(psi * theta)])

    def half_square(theta, psi):
        return (v(theta, psi) ** 2).sum() / 2

    def step(theta, psi, of):
        e = 1e-5
        ahead, behind = ((half_square(theta + s * e * (of == 0), psi + s * e * (of == 1))) for s in (1, -1))
        return v(theta, psi)[of] + WEIGHT * (ahead - behind) / (2 * e)

    theta, psi, expected = 0.6, 0.8, [0.6 + 0.8j]
    for _ in range(10):
        moved = psi - H * step(theta, psi, 1)
        theta -= H * step(theta, psi if rule == "simultaneous" else moved, 0)
        psi = moved
        expected.append(complex(theta, psi))
    assert np.allclose(played(nonsaturating, rule, 10, 0.6 + 0.8j), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("objective", [nonsaturating, relativistic])
def test_the_term_is_half_the_square_of_the_gradients_that_the_players_would_step_with(objective):
    torch.manual_seed(0)
    nets = networks()
    nets[1].trunk[0].bias.requires_grad_(False)  # no weight of v
    nets[0].unused = torch.nn.Parameter(torch.ones(2))  # with gradient 0
    plain, regularised = build(objective, nets, terms=False), build(objective, nets)
    data = batches(1)
    (one, _), (two, _) = (
        plays.build_turns(data[0], ["discriminator", "generator"])[0] for plays in (plain, regularised)
    )
    total = 0.0
    for player in plain.players.values():
        loss = player.adversarial_losses(one, 1.0)["adversarial"]
        parameters = [p for p in player.network.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        total += sum(g.square().sum() for g in gradients)
    value = consensus(objective)(two)
    assert value.item() == pytest.approx(total.item() / 2, rel=1e-5)


def test_the_trial_round_of_one_player_at_a_time_passes():
    assert dry_run(build(nonsaturating, networks()), batches(1)[0]) == []


def test_a_missing_objective_and_a_compiled_network_are_refused():
    with pytest.raises(Mistake, match=r"objective\.generator"):
        Consensus({"generator": None})
    plays = build(nonsaturating, networks())
    plays.compiled_networks = {"generator": lambda x, c=None: plays.generator.network(x, c)}
    ((turn, _),) = plays.build_turns(batches(1)[0], ["discriminator", "generator"])
    with pytest.raises(Mistake, match="compile=false"):
        consensus(nonsaturating)(turn)


def test_it_counts_as_coupled_so_that_a_split_batch_is_refused():
    with pytest.raises(ValueError, match="consensus depends on the whole batch"):
        game(nonsaturating, {"consensus": consensus(nonsaturating)}, d={"accumulate": 2})
