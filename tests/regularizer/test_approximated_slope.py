"""Approximated R1 and R2: closed forms on linear and quadratic discriminators, first derivatives only."""

import play
import pytest
import torch

from saddlepoint.regularizer.approximated_r1 import ApproximatedR1
from saddlepoint.regularizer.approximated_r2 import ApproximatedR2
from saddlepoint.regularizer.seeded_noise import seeded_noise
from saddlepoint.stream import Stream
from saddlepoint.turn import DiscriminatorOutput, Sample

N = 20_000
SEEDS = Stream(0, "augment").integers(2**31 - 1, N)


def turn_of(logits, real, fake, seeds=SEEDS):
    judge = play.judge(logits)
    return play.turn(drawn=seeds, real=Sample(real, {}, judge), fake=Sample(fake, {}, judge))


@pytest.mark.parametrize("scale", [0.05, 0.1, 1.0])
def test_on_a_linear_discriminator_it_is_the_squared_projection_of_the_noise(scale: float) -> None:
    """s^2 E(w . e)^2 with the noise of the seeds, whose expectation is s^2 ||w||^2."""
    weight = torch.tensor([3.0, -4.0, 0.0], dtype=torch.float64, requires_grad=True)
    real, fake = torch.randn(2, N, 3, dtype=torch.float64)
    noise = seeded_noise(SEEDS, real)
    for term in (ApproximatedR1(scale=scale), ApproximatedR2(scale=scale)):
        value, expected = term(turn_of(lambda x: x @ weight, real, fake)), scale**2 * (noise @ weight).square().mean()
        assert value.item() == pytest.approx(expected.item(), rel=1e-9)
        assert value.item() == pytest.approx(scale**2 * 25, rel=0.03)  # Monte Carlo: relative error sqrt(2 / N) = 0.01
        (gradient,), (closed,) = (torch.autograd.grad(loss, weight, retain_graph=True) for loss in (value, expected))
        assert torch.allclose(gradient, closed, rtol=1e-9)  # through both D(x) and D(x + s e)


def test_noisy_samples_have_the_conditions_of_their_rows_and_of_several_fakes_per_real_the_first_are_used() -> None:
    """D(x, c) = c w . x, so the term is s^2 E(c w . e)^2."""
    real, fake, weight = torch.randn(4, 3), torch.randn(8, 3), torch.tensor([1.0, 2.0, 3.0])
    gain, seeds = torch.arange(1.0, 9.0), SEEDS[:4]

    def judge(x, condition):
        return DiscriminatorOutput(condition["gain"] * (x @ weight))

    turn = play.turn(
        drawn=seeds, real=Sample(real, {"gain": gain[:4]}, judge), fake=Sample(fake, {"gain": gain}, judge)
    )
    expected = (gain[:4] * (seeded_noise(seeds, real) @ weight)).square().mean()
    for term in (ApproximatedR1(scale=1.0), ApproximatedR2(scale=1.0)):
        assert term(turn).item() == pytest.approx(expected.item(), rel=1e-4)


def test_on_a_curved_discriminator_the_difference_from_the_slope_is_of_fourth_order() -> None:
    """D = ||x||^2 / 2: the term is s^2 E(x . e)^2 + s^3 E(x . e) ||e||^2 + s^4 E||e||^4 / 4."""
    real = torch.randn(N, 2, dtype=torch.float64)
    noise = seeded_noise(SEEDS, real)
    slope = ((real * noise).sum(1)).square().mean().item()
    square = noise.square().sum(1)
    cubic, quartic = ((real * noise).sum(1) * square).mean().item(), square.square().mean().item() / 4
    for scale in (0.1, 0.05):
        value = ApproximatedR1(scale=scale)(turn_of(lambda x: x.square().sum(1) / 2, real, real)).item()
        assert value == pytest.approx(scale**2 * slope + scale**3 * cubic + scale**4 * quartic, rel=1e-9)
    assert quartic == pytest.approx(2, rel=0.05)  # E||e||^4 / 4 in two dimensions


def test_the_expected_difference_from_the_slope_falls_by_16_when_the_scale_is_halved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """s^2 ||grad D||^2 + O(s^4), with the expectation over e by Gauss-Hermite: -sqrt 3, 0, 0, 0, 0, sqrt 3 per axis."""
    node = torch.tensor([-(3**0.5), 0, 0, 0, 0, 3**0.5], dtype=torch.float64)
    monkeypatch.setattr(
        "saddlepoint.regularizer.approximated_r1.seeded_noise", lambda seeds, x: torch.cartesian_prod(node, node)
    )
    x = torch.tensor([[0.7, -0.4]], dtype=torch.float64)
    real = x.expand(36, 2)
    squared_slope = ((x[0, 0].cos() ** 2 + x[0, 0].sin() ** 2 / 4) * x[0, 1].exp()).item()

    def difference(scale: float) -> float:
        sides = turn_of(lambda x: x[:, 0].sin() * (x[:, 1] / 2).exp(), real, real, SEEDS[:36])
        return ApproximatedR1(scale=scale)(sides).item() - scale**2 * squared_slope

    assert difference(0.1) != 0
    assert difference(0.1) / difference(0.05) == pytest.approx(16, rel=0.02)


def test_r1_is_at_reals_and_r2_at_fakes_and_neither_needs_a_second_derivative() -> None:
    real, fake = torch.full((4, 1), 1.0), torch.full((4, 1), 3.0)
    weight = torch.tensor(1.0, requires_grad=True)

    class Once(torch.autograd.Function):
        """weight * x^2 / 2; a second derivative through it is an error."""

        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x)
            return weight * x.square() / 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return None, (gradient * x.square() / 2).sum()

    values = {}
    for name, term in (("r1", ApproximatedR1(scale=1e-3)), ("r2", ApproximatedR2(scale=1e-3))):
        loss = term(turn_of(lambda x: Once.apply(x, weight).sum(1), real, fake, SEEDS[:4]))
        (gradient,) = torch.autograd.grad(loss, weight)
        assert torch.isfinite(gradient)
        values[name] = loss.item()
    assert values["r2"] / values["r1"] == pytest.approx(9, rel=0.05)  # slopes 3 and 1


@pytest.mark.parametrize("scale", [0, -0.1])
def test_a_scale_that_is_not_positive_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        ApproximatedR1(scale=scale)


def test_seeded_noise_is_a_function_of_each_seed() -> None:
    x = torch.zeros(6, 2, 3)
    whole = seeded_noise(SEEDS[:6], x)
    assert torch.equal(whole[2:], seeded_noise(SEEDS[2:6], x))
    assert torch.equal(whole[:4], seeded_noise(SEEDS[:6], x[:4]))
    assert ApproximatedR1().draw(100, Stream(0, "a")).unique().numel() == 100
    assert whole.std().item() == pytest.approx(1, abs=0.4)
