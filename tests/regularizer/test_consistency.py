"""Consistency regularization: 0 where nothing changes, closed forms with a linear D, gradients, latent pairs."""

from dataclasses import replace

import pytest
import torch
from play import turn
from torch import nn

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.layer.conditional_sequential import ConditionalSequential
from saddlepoint.layer.latent_noise import LatentNoise
from saddlepoint.regularizer.consistency import Consistency
from saddlepoint.turn import Batch, DiscriminatorOutput, Sample

SMALL = [
    "data=gaussians",
    "architecture.generator.widths=[8]",
    "architecture.discriminator.widths=[8]",
    "prior.z.dim=3",
]
WEIGHT = torch.tensor([3.0, -4.0], dtype=torch.float64)


def pair(a, b, weight=WEIGHT):
    def linear(x, condition):
        return DiscriminatorOutput(x @ weight)

    made = turn(real=Sample(a, {}, linear), augmented_real=Sample(b, {}, linear))
    return replace(made, sides={**made.sides, "augmented_real": made.sides["real"]})


def test_with_a_linear_discriminator_it_is_the_squared_projection_of_the_change():
    x, change = torch.randn(2, 50, 2, dtype=torch.float64)
    weight = WEIGHT.clone().requires_grad_()
    assert Consistency()(pair(x, x)).item() == 0
    value, expected = Consistency()(pair(x, x + change, weight)), (change @ weight).square().mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    (gradient,), (closed,) = (torch.autograd.grad(loss, weight) for loss in (value, expected))
    assert torch.allclose(gradient, closed, rtol=1e-9)  # through both D(x) and D(T(x))
    shifted = Consistency()(pair(x, x + torch.tensor([1.0, 0.0]))).item()  # s^2 |w_1|^2 for a shift by s
    assert shifted == pytest.approx(9, rel=1e-12)


def test_sides_that_a_game_lacks_or_that_have_other_rows_are_refused():
    x = torch.zeros(4, 2, dtype=torch.float64)
    with pytest.raises(Mistake, match="this game has no side augmented_real: set game=consistency"):
        Consistency().check_game(build_game(compose(SMALL)))
    assert Consistency().check_game(game_of("consistency")) is None
    with pytest.raises(Mistake, match=r"have logits \[4\] and \[3\]"):
        Consistency()(pair(x, x[:3]))


# --------------------------------------------------------------------------------------------------- the wired game


def game_of(terms, *overrides):
    config = compose(["game=consistency", f"regularizer=[{terms}]", *SMALL, "optimizer=sgd", *overrides])
    torch.manual_seed(0)
    return build_game(config)


def losses_of(game, player):
    stream = torch.Generator().manual_seed(1)
    built, _ = game.build_turns(Batch(torch.randn(16, 2, generator=stream)), [player])[0]
    return game.players[player].losses(built, 0)


@pytest.mark.parametrize("terms", ["consistency", "balanced_consistency", "latent_consistency"])
def test_each_term_is_0_at_the_identity_and_positive_otherwise(terms):
    same = losses_of(game_of(terms, "game.makers.augment.start=0", "game.makers.nearby.scale=0"), "discriminator")
    other = losses_of(game_of(terms), "discriminator")
    added = set(same) - {"adversarial"}
    assert len(added) == (2 if terms == "balanced_consistency" else 1)
    assert all(same[name] == 0 and other[name] > 0 for name in added)
    assert same["adversarial"] == other["adversarial"], "the objective sees unchanged samples"


def test_each_term_has_gradients_for_its_player_and_the_samples_are_constant_in_a_turn_of_d():
    for player, other in (("discriminator", "generator"), ("generator", "discriminator")):
        game = game_of("balanced_consistency,latent_consistency")
        losses = losses_of(game, player)
        assert len(losses) == (4 if player == "discriminator" else 2)
        for name in set(losses) - {"adversarial"}:
            mine, others = (list(game.player(name).network.parameters()) for name in (player, other))
            gradients = torch.autograd.grad(losses[name], [*mine, *others], retain_graph=True, allow_unused=True)
            assert any(g is not None and g.abs().sum() > 0 for g in gradients[: len(mine)]), name
            assert all(g is None for g in gradients[len(mine) :]), name


def test_the_generators_term_is_minus_the_squared_distance_of_the_samples_of_both_latents():
    """With a linear G of weight A, G(z + s e) - G(z) = s A e."""
    game = game_of("latent_consistency", "game.makers.nearby.scale=0.1")
    game.player("generator").network.layers = ConditionalSequential(linear_map := nn.Linear(3, 2))
    built, _ = game.build_turns(Batch(torch.randn(16, 2)), ["generator"])[0]
    expected = -0.5 * (0.1 * built.draws["nearby"]["z"] @ linear_map.weight.T).square().mean()
    loss = game.players["generator"].losses(built, 0)["consistency_latent"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss < 0


def test_latent_noise_changes_one_part_and_refuses_other_shapes():
    latent, noise = {"z": torch.zeros(4, 3), "code": torch.ones(4, 2)}, torch.randn(4, 3)
    noisy = LatentNoise(scale=0.5)(latent, {"noise": noise})
    assert torch.equal(noisy["z"], 0.5 * noise)
    assert noisy["code"] is latent["code"]
    with pytest.raises(Mistake, match=r"the noise is \[4, 2\], and the latent part \[4, 3\]"):
        LatentNoise()(latent, {"noise": noise[:, :2]})
    with pytest.raises(ValueError, match="scale=-1"):
        LatentNoise(scale=-1)
