"""Gradient ratio: on a linear generator the weighted gradients have the stated ratio of norms."""

import play
import pytest
import torch
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.game.player import Player
from saddlepoint.objective import nonsaturating
from saddlepoint.regularizer.gradient_ratio import GradientRatio
from saddlepoint.regularizer.path_length import PathLength
from saddlepoint.regularizer.reconstruction import Reconstruction
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Sample


class Drawn(Reconstruction):
    """A term with random numbers of its own."""

    needs_draw = needs_sample_slope = True

    def draw(self, n, stream):
        return torch.arange(n)


class Constant(Regularizer):
    """A term that is 0."""

    def forward(self, turn):
        return torch.zeros((), dtype=torch.float64)


def turn_of(terms, weight=0.0, scale=1.0, objective=nonsaturating.generator, **samples):
    """The turn of a linear generator W z, a linear D and these terms; and W."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double()
    player = Player(network, torch.optim.SGD, objective, terms, weight)
    judge = play.judge(lambda x: scale * (x @ torch.tensor([1.0, 2.0]).double()))
    real, z = torch.randn(8, 2).double(), torch.randn(8, 4).double()
    turn = play.turn(player, real=Sample(real, {}, judge), fake=Sample(network(z), {}, judge), **samples)
    return turn, network[1].weight


def norm(loss, weight):
    return torch.autograd.grad(loss, weight, retain_graph=True)[0].norm().item()


@pytest.mark.parametrize("scale", [1e-2, 1.0, 50.0])
def test_the_gradients_at_the_last_layer_have_the_ratio_of_the_weight(scale: float) -> None:
    ratio, reference = GradientRatio(weight=0.8, eps=0.0), Reconstruction(weight=3.0)
    turn, weight = turn_of({"reconstruction": reference, "gradient_ratio": ratio}, scale=scale)
    losses = turn.player.losses(turn, 0)
    assert losses["adversarial"].item() == 0
    parts = [norm(losses[name], weight) for name in ("gradient_ratio", "reconstruction")]
    assert parts[0] / parts[1] == pytest.approx(0.8)
    plain = turn.player.adversarial_losses(turn, 1.0)["adversarial"]  # the factor is constant in the gradient
    (slope,), (expected,) = (
        torch.autograd.grad(x, weight, retain_graph=True) for x in (losses["gradient_ratio"], plain)
    )
    assert torch.allclose(slope / slope.norm(), expected / expected.norm())


def test_eps_and_the_maximum_bound_the_factor() -> None:
    ratio = GradientRatio(eps=0.5, weight=1.0)
    turn, weight = turn_of({"reconstruction": Reconstruction(), "gradient_ratio": ratio})
    adversarial = turn.player.adversarial_losses(turn, 1.0)["adversarial"]
    expected = norm(Reconstruction()(turn), weight) / (norm(adversarial, weight) + 0.5)
    assert (ratio(turn) / adversarial).item() == pytest.approx(expected)
    ratio.maximum = expected / 2
    assert (ratio(turn) / adversarial).item() == pytest.approx(expected / 2)


def test_a_term_can_be_balanced_instead_of_the_objective_at_any_weight_of_the_network() -> None:
    other = Reconstruction(absolute=False)
    ratio = GradientRatio(weight=2.0, eps=0.0, term=other, parameter="0.weight")
    turn, _ = turn_of({"reconstruction": Reconstruction(), "gradient_ratio": ratio}, weight=1.0)
    losses, weight = turn.player.losses(turn, 0), turn.player.network[0].weight
    assert norm(losses["gradient_ratio"], weight) == pytest.approx(2 * norm(losses["reconstruction"], weight))


def test_the_balanced_term_gets_the_draws_and_slopes_that_it_needs() -> None:
    term, plain = GradientRatio(term=Drawn()), GradientRatio()
    assert term.needs_draw
    assert term.needs_sample_slope
    assert torch.equal(term.draw(3, None), torch.arange(3))
    assert not plain.needs_draw
    assert not plain.needs_sample_slope
    assert GradientRatio(term=PathLength()).slope_at == PathLength.slope_at


@pytest.mark.parametrize(
    ("settings", "weight", "message"),
    [
        ({}, 1.0, "set its weight to 0"),
        ({"reference": "reconstructio"}, 0.0, "Did you mean reconstruction"),
        ({"reference": "constant"}, 0.0, "does not reach the weight 1.weight"),
        ({"reference": "drawn"}, 0.0, "drawn draws random numbers"),
        ({"parameter": "2.weight"}, 0.0, "parameter=2.weight"),
    ],
)
def test_bad_input_is_refused(settings, weight: float, message: str) -> None:
    terms = {"reconstruction": Reconstruction(), "constant": Constant(), "drawn": Drawn()}
    terms["gradient_ratio"] = GradientRatio(**settings)
    turn, _ = turn_of(terms, weight)
    with pytest.raises(Mistake, match=message):
        terms["gradient_ratio"](turn)
