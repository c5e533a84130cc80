"""Energy-based GAN: the margin limits what fakes contribute, and at the equilibrium D's loss is the margin."""

import pytest
import torch
from torch.nn.functional import softplus

from saddlepoint.objective import energy_based


def logit_of(energy: float) -> torch.Tensor:
    """The logit whose energy softplus(-logit) is `energy`."""
    return -torch.tensor(energy, dtype=torch.float64).expm1().log()


def test_fakes_beyond_the_margin_cost_nothing_and_give_no_gradient() -> None:
    fake = logit_of(2.5).requires_grad_()
    loss = energy_based.discriminator(logit_of(0.3)[None], fake[None], margin=2.0)
    assert loss.item() == pytest.approx(0.3, abs=1e-12)
    assert torch.autograd.grad(loss, fake)[0].item() == 0


@pytest.mark.parametrize("energy", [0.1, 0.5, 1.0])
def test_at_equal_distributions_the_discriminator_pays_the_margin(energy: float) -> None:
    """Theorem 1 of the paper: E(x) + max(0, m - E(x)) = m for every energy of at most m."""
    same = logit_of(energy)[None]
    assert energy_based.discriminator(same, same, margin=1.0).item() == pytest.approx(1.0, abs=1e-12)


def test_the_generator_descends_the_energy_of_its_samples() -> None:
    fake = torch.linspace(-3, 3, 7, dtype=torch.float64)
    assert energy_based.generator(fake).item() == pytest.approx(softplus(-fake).mean().item())


@pytest.mark.parametrize("margin", [0, -1.0])
def test_a_margin_that_is_not_positive_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        energy_based.discriminator(torch.zeros(2), torch.zeros(2), margin=margin)
