"""Laws of the bound of InfoGAN: its closed form, the parameters it moves, and codes learned on points."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from play import fit
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import log_softmax

from saddlepoint.architecture import mlp
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.prior.uniform import Uniform
from saddlepoint.regularizer.mutual_information import MutualInformation
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, DiscriminatorOutput, Sample, Turn

PRIOR = Prior(z=Normal(2), category=Categorical(4), style=Uniform(2))


def turn(heads, n=32):
    """Return a turn whose judge returns `heads` of the latent."""
    latent = PRIOR.sample(n, Stream(0, "latent", joint=True))
    output = DiscriminatorOutput(torch.zeros(n), {}, {name: head(latent) for name, head in heads.items()})
    fake = Sample(torch.zeros(n, 2), {}, lambda x, condition: output)
    return Turn({}, {}, Batch(torch.zeros(n, 2)), {"latent": latent}, prior=PRIOR, samples={"fake": fake}), latent


def test_a_perfect_q_of_a_categorical_code_gives_0_and_a_constant_q_the_entropy():
    perfect, _ = turn({"category": lambda latent: 1e4 * latent["category"]})
    assert MutualInformation()(perfect).item() == 0
    nothing, _ = turn({"category": lambda latent: torch.zeros_like(latent["category"])})
    assert MutualInformation()(nothing).item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_terms_of_several_codes_add_up_each_with_its_own_formula():
    heads = {"category": lambda latent: latent["z"] @ torch.ones(2, 4).cumsum(1), "style": lambda latent: latent["z"]}
    example, latent = turn(heads)
    expected = -(log_softmax(latent["z"] @ torch.ones(2, 4).cumsum(1), 1) * latent["category"]).sum(1).mean()
    expected = expected + ((latent["style"] - latent["z"]) ** 2).sum(1).mean() / 2
    torch.testing.assert_close(MutualInformation(codes=["category", "style"])(example), expected)


def test_a_missing_code_or_head_or_another_size_is_refused_with_what_to_type():
    example, _ = turn({"category": lambda latent: latent["z"], "categori": lambda latent: latent["z"]})
    with pytest.raises(Mistake, match=r"the prior has no part categori\. Did you mean category\?"):
        MutualInformation(codes=["categori"])(example)
    with pytest.raises(Mistake, match=r"code style needs a head of the same name, .* category, categori"):
        MutualInformation(codes=["style"])(example)
    with pytest.raises(
        Mistake, match=r"has shape \[32, 4\], but the head category has \[32, 2\].*heads=\{category: 4\}"
    ):
        MutualInformation()(example)
    with pytest.raises(ValueError, match="codes="):
        MutualInformation(codes=[])


MODES = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


def points(n, stream):
    y = torch.randint(4, (n,), generator=stream)
    return MODES[y] + 0.05 * torch.randn(n, 2, generator=stream), y


def game(weight=1.0, seed=0):
    """Return an InfoGAN on points: four clusters, a code with four values."""
    torch.manual_seed(seed)
    prior = Prior(z=Normal(2), category=Categorical(4))
    term = {"mutual_information": MutualInformation(weight=weight)}
    adam = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
    players = {
        "discriminator": Player(
            mlp.Discriminator((2,), [64, 64], heads={"category": 4}), adam, nonsaturating.discriminator, dict(term)
        ),
        "generator": Player(mlp.Generator(6, (2,), [64, 64]), adam, nonsaturating.generator, dict(term)),
    }
    return Game(players, prior, seed)


def test_a_term_of_both_players_moves_the_head_and_the_generator():
    """Without an adversarial loss, the head and G descend only the term, and it falls below the entropy."""
    plays = game()
    for name in plays.players:
        plays.player(name).objective = None
    stream = torch.Generator().manual_seed(0)
    before = {name: [p.detach().clone() for p in plays.player(name).network.parameters()] for name in plays.players}
    fit(plays, [Batch(points(64, stream)[0]) for _ in range(60)])
    for name in plays.players:
        moved = [
            not torch.equal(a, b) for a, b in zip(before[name], plays.player(name).network.parameters(), strict=True)
        ]
        assert any(moved), name
    assert plays.report()["generator/mutual_information"] < 0.2 * math.log(4)
    head = plays.player("discriminator").network.heads["category"]
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_codes_match_the_clusters_of_the_data_up_to_a_permutation():
    """Q on reals with known clusters assigns a different code to each cluster."""
    plays = game(seed=1)
    stream = torch.Generator().manual_seed(1)
    fit(plays, [Batch(points(64, stream)[0]) for _ in range(1500)])
    x, y = points(2000, stream)
    with torch.no_grad():
        code = plays.player("discriminator").network(x).heads["category"].argmax(1)
        latent = plays.prior.sample(2000, Stream(3, "own"))
        predicted = (
            plays.player("discriminator").network(plays.player("generator").network(latent)).heads["category"].argmax(1)
        )
    table = torch.zeros(4, 4).index_put((code, y), torch.ones(2000), accumulate=True)
    rows, columns = linear_sum_assignment(-table.numpy())
    assert table[rows, columns].sum() / 2000 > 0.9, table
    assert (predicted == latent["category"].argmax(1)).double().mean() > 0.95
    assert math.log(4) - plays.report()["generator/mutual_information"] > 0.9 * math.log(4), "the bound, in nats"
