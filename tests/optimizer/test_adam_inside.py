"""Laws of Adam with epsilon inside the square root."""

import copy
import io
import math
from functools import partial

import pytest
import torch
from play import batches, fit, game
from torch import nn

from saddlepoint.objective import nonsaturating
from saddlepoint.optimizer.adam_inside import AdamInside


def by_hand(theta, gradients, lr, b1, b2, eps):
    """The recursion for one number in Python floats."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        theta -= lr * (m / (1 - b1**t)) / math.sqrt(v / (1 - b2**t) + eps)
    return theta


def moved(optimizer, gradients, start):
    """Return a parameter vector after steps of an optimizer with the given gradients."""
    parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    stepper = optimizer([parameter])
    for g in gradients:
        parameter.grad = g.clone()
        stepper.step()
    return parameter.detach()


@pytest.mark.parametrize("eps", [1e-8, 1e-2])
@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-7])
def test_steps_equal_the_recursion_computed_by_hand(size, eps):
    torch.manual_seed(0)
    gradients = [size * torch.randn(5, dtype=torch.float64) for _ in range(60)]
    ours = moved(partial(AdamInside, lr=3e-3, betas=(0.5, 0.999), eps=eps), gradients, [1.0, -2.0, 0.0, 3.0, 0.5])
    for i, start in enumerate([1.0, -2.0, 0.0, 3.0, 0.5]):
        assert ours[i].item() == pytest.approx(
            by_hand(start, [g[i].item() for g in gradients], 3e-3, 0.5, 0.999, eps), rel=0, abs=1e-12
        )


def test_for_a_tiny_epsilon_it_equals_torchs_adam():
    torch.manual_seed(0)
    gradients = [torch.randn(7, dtype=torch.float64) for _ in range(40)]
    start = [0.0] * 7
    ours = moved(partial(AdamInside, lr=1e-2, betas=(0.9, 0.99), eps=0.0), gradients, start)
    theirs = moved(partial(torch.optim.Adam, lr=1e-2, betas=(0.9, 0.99), eps=0.0), gradients, start)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    near = moved(partial(AdamInside, lr=1e-2, betas=(0.9, 0.99), eps=1e-20), gradients, start)
    assert torch.allclose(near, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("g", [1e-2, 1e-4, 1e-6, 1e-8])
def test_a_constant_gradient_moves_by_lr_g_over_the_root_of_its_square_and_epsilon(g):
    gradients = [torch.full((1,), g, dtype=torch.float64)] * 10
    ours = -moved(partial(AdamInside, lr=1e-3, eps=1e-8), gradients, [0.0]).item()
    theirs = -moved(partial(torch.optim.Adam, lr=1e-3, eps=1e-8), gradients, [0.0]).item()
    assert ours == pytest.approx(10 * 1e-3 * g / math.sqrt(g * g + 1e-8), rel=1e-9)
    assert theirs == pytest.approx(10 * 1e-3 * g / (g + 1e-8), rel=1e-6)
    if g <= 1e-6:  # below 1e-4 the step of torch's Adam does not depend on the gradient's size, this one does
        assert ours / (10 * 1e-3) == pytest.approx(g / 1e-4, rel=1e-3)
        assert theirs > 40 * ours


def test_torchs_adam_is_closest_with_epsilon_1e_4_not_1e_8():
    torch.manual_seed(0)
    gradients = [1e-5 * torch.randn(50, dtype=torch.float64) for _ in range(30)]
    ours = moved(partial(AdamInside, eps=1e-8), gradients, [0.0] * 50)
    near, far = (moved(partial(torch.optim.Adam, eps=e), gradients, [0.0] * 50) for e in (1e-4, 1e-8))
    assert (ours - near).norm() < 0.15 * ours.norm()
    assert (ours - far).norm() > 2 * ours.norm()


def test_a_parameter_with_a_late_first_gradient_counts_its_own_steps():
    early, late = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = AdamInside([early, late], lr=0.1)
    for i in range(5):
        early.grad = torch.ones(1)
        late.grad = torch.ones(1) if i == 4 else None
        optimizer.step()
    assert early.item() == pytest.approx(-0.5, abs=1e-5)
    assert late.item() == pytest.approx(-0.1, abs=1e-6)  # bias-corrected for its single step


def test_saving_and_resuming_is_exact():
    torch.manual_seed(0)
    gradients = [torch.randn(4, 3) for _ in range(10)]
    start = nn.Parameter(torch.randn(4, 3))

    def descend(parameter, optimizer, gradients):
        for g in gradients:
            parameter.grad = g.clone()
            optimizer.step()

    uninterrupted = copy.deepcopy(start)
    descend(uninterrupted, AdamInside([uninterrupted]), gradients)
    half = copy.deepcopy(start)
    first = AdamInside([half])
    descend(half, first, gradients[:5])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = nn.Parameter(half.detach().clone())
    restored = AdamInside([resumed], lr=99.0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    descend(resumed, restored, gradients[5:])
    assert torch.equal(resumed, uninterrupted)


def test_it_follows_a_learning_rate_schedule_under_lightning():
    from saddlepoint.schedule.linear import Linear

    plays = game(nonsaturating, optimizer=partial(AdamInside, lr=Linear(1e-2, 0.0, images=64), betas=(0.5, 0.999)))
    before = copy.deepcopy(dict(plays.named_parameters()))
    fit(plays, batches(3))
    assert any(not torch.equal(p, before[name]) for name, p in plays.named_parameters())
    rate = plays.optimizer("generator").param_groups[0]["lr"]
    assert rate == pytest.approx(1e-2 * (1 - 32 / 64))


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"eps": -1e-8}, {"betas": (0.5, 1.0)}, {"betas": (0.5,)}])
def test_invalid_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        AdamInside([nn.Parameter(torch.zeros(1))], **wrong)
