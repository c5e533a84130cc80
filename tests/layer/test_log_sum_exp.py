"""A classifier of K classes as the discriminator: the softmax over K + 1 classes whose last logit is 0."""

import math

import pytest
import torch

from saddlepoint.architecture import mlp
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.layer.log_sum_exp import LogSumExp
from saddlepoint.objective import minimax

LOGITS = 5 * torch.randn(200, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
WITH_FAKE = torch.cat([LOGITS, torch.zeros(200, 1, dtype=torch.float64)], 1).log_softmax(1)


def readout(logits, head="label"):
    return LogSumExp(9, head)(torch.zeros(len(logits), 9), None, {head: logits})


def test_the_logit_is_that_of_the_probability_of_being_real_class():
    z = LOGITS.exp().sum(1)
    torch.testing.assert_close(readout(LOGITS).sigmoid(), z / (z + 1))
    torch.testing.assert_close(readout(LOGITS).sigmoid(), 1 - WITH_FAKE[:, -1].exp())


def test_cross_entropy_over_k_plus_1_classes_is_that_over_k_plus_that_of_being_real():
    y = torch.randint(7, (200,), generator=torch.Generator().manual_seed(1))
    lse = readout(LOGITS)
    among_k = lse - LOGITS[torch.arange(200), y]
    torch.testing.assert_close(-WITH_FAKE[torch.arange(200), y], among_k + torch.nn.functional.softplus(lse) - lse)


def test_minimax_descends_the_cost_of_the_fake_class_class_on_fakes_and_of_any_other_on_reals():
    real, fake = LOGITS[:80], LOGITS[80:]
    any_class = -(1 - WITH_FAKE[:80, -1].exp()).log().mean()
    fake_class = -WITH_FAKE[80:, -1].mean()
    torch.testing.assert_close(minimax.discriminator(readout(real), readout(fake)), any_class + fake_class)


def test_large_logits_do_not_overflow():
    torch.testing.assert_close(
        readout(torch.tensor([[1e4, 1e4], [-1e4, -2e4]])), torch.tensor([1e4 + math.log(2), -1e4])
    )


def test_it_reads_the_given_head_and_has_no_parameters():
    network = mlp.Discriminator([3], widths=[4], readout=lambda f: LogSumExp(f, "b"), heads={"a": 5, "b": 2})
    output = network(torch.randn(6, 3))
    assert output.logits.equal(output.heads["b"].logsumexp(1))
    assert not list(network.readout.parameters())


def test_a_missing_head_is_refused_with_the_names_of_all_heads():
    with pytest.raises(
        Mistake, match=r"reads head label, but the discriminator's heads are digit\. Add .*\{label: 10\}"
    ):
        LogSumExp(4)(torch.zeros(2, 4), None, {"digit": torch.zeros(2, 3)})


@pytest.mark.parametrize("architecture", ["mlp", "conv28", "dcgan", "salimans2016_mnist", "salimans2016_cifar"])
def test_it_is_one_override_on_any_architecture(architecture):
    config = compose([f"architecture={architecture}", "+layer@architecture.discriminator.readout=log_sum_exp"])
    check(config)
    assert config.architecture.discriminator.readout._target_.endswith("LogSumExp")
