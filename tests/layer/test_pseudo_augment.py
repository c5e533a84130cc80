"""Adaptive pseudo augmentation: which rows are replaced, no gradient through them, and the fixed point of G."""

from dataclasses import replace

import pytest
import torch

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.layer.pseudo_augment import PseudoAugment
from saddlepoint.turn import Batch

STREAM = torch.Generator().manual_seed(0)
REAL, FAKE = torch.randn(2, 400, 1, 2, 2, generator=STREAM)
NUMBERS = torch.rand(400, 1, generator=STREAM)
CONDITION = {"fake": FAKE, "numbers": NUMBERS}


def test_at_p_0_and_in_evaluation_mode_reals_are_unchanged_bit_for_bit():
    assert torch.equal(PseudoAugment()(REAL, CONDITION), REAL)
    assert PseudoAugment(start=1.0).eval()(REAL, CONDITION) is REAL


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_a_fraction_p_of_the_rows_are_whole_fakes_and_the_others_reals(p):
    y = PseudoAugment(start=p)(REAL, CONDITION)
    replaced = NUMBERS[:, 0] < p
    assert torch.equal(y[replaced], FAKE[replaced])
    assert torch.equal(y[~replaced], REAL[~replaced])
    assert replaced.double().mean().item() == pytest.approx(p, abs=5 * (0.21 / 400) ** 0.5)


def test_a_fake_that_is_presented_as_real_has_no_gradient():
    fake = FAKE.clone().requires_grad_()
    assert not PseudoAugment(start=0.5)(REAL, {"fake": fake, "numbers": NUMBERS}).requires_grad


def test_g_has_the_data_distribution_at_the_fixed_point_for_p_below_1_only():
    """D cannot tell (1 - p) data + p G from G if and only if (1 - p) (data - G) = 0."""
    p, n = torch.tensor(0.75), 4000  # data on 0 with probability 0.5, G on 0 with probability 0.25
    real, fake = (torch.rand(n, 1, generator=STREAM) < share for share in (0.5, 0.25))
    for start in (p.item(), 1.0):
        condition = {"fake": fake.float(), "numbers": torch.rand(n, 1, generator=STREAM)}
        shown = PseudoAugment(start=start)(real.float(), condition).mean().item()
        assert shown - 0.25 == pytest.approx((1 - start) * 0.25, abs=0.04)


def test_other_numbers_of_fakes_than_reals_are_refused():
    with pytest.raises(Mistake, match=r"replaces reals \[400, 1, 2, 2\] by fakes, but these are \[399, 1, 2, 2\]"):
        PseudoAugment()(REAL, {"fake": FAKE[:399], "numbers": NUMBERS})
    with pytest.raises(ValueError, match="pseudo augment: start=2"):
        PseudoAugment(start=2)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_in_the_game_the_presented_fakes_are_new_ones_and_constants_also_in_a_turn_of_g(player):
    config = compose(
        ["game=adaptive_pseudo_augment", "game.makers.pseudo.start=0.5", "data=gaussians", "objective=relativistic",
         "regularizer=[r1]", "architecture.generator.widths=[8]", "architecture.discriminator.widths=[8]"]
    )  # fmt: skip
    x = torch.full((64, 2), 7.0)
    turn, _ = (game := build_game(config)).build_turns(Batch(x), [player])[0]
    losses = game.players[player].losses(replace(turn, player=game.players[player]), 0)
    assert losses["adversarial"].requires_grad
    shown = turn.samples["pseudo_real"].x
    replaced = (shown != x).any(1)
    assert 16 < replaced.sum() < 48
    assert torch.equal(shown[replaced], turn.samples["pseudo_fake"].x[replaced])
    assert not torch.equal(turn.samples["pseudo_fake"].x, turn.samples["fake"].x)
    assert shown.is_leaf
    judged = {name for name, sample in turn.samples.items() if sample.is_judged}
    assert judged == {"pseudo_real", "fake"}
