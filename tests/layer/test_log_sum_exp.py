"""A classifier of K classes judges: the K + 1 softmax whose last logit is 0."""

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
WITH_MADE_UP = torch.cat([LOGITS, torch.zeros(200, 1, dtype=torch.float64)], 1).log_softmax(1)


def judged(logits, head="label"):
    return LogSumExp(9, head)(torch.zeros(len(logits), 9), None, {head: logits})


def test_the_logit_is_that_of_the_probability_of_no_made_up_class():
    z = LOGITS.exp().sum(1)
    torch.testing.assert_close(judged(LOGITS).sigmoid(), z / (z + 1))
    torch.testing.assert_close(judged(LOGITS).sigmoid(), 1 - WITH_MADE_UP[:, -1].exp())


def test_the_cost_of_a_class_among_k_plus_1_is_that_among_k_and_that_of_being_real():
    y = torch.randint(7, (200,), generator=torch.Generator().manual_seed(1))
    lse = judged(LOGITS)
    among_k = lse - LOGITS[torch.arange(200), y]
    torch.testing.assert_close(-WITH_MADE_UP[torch.arange(200), y], among_k + torch.nn.functional.softplus(lse) - lse)


def test_minimax_descends_the_cost_of_the_made_up_class_on_fakes_and_of_any_other_on_reals():
    real, fake = LOGITS[:80], LOGITS[80:]
    any_class = -(1 - WITH_MADE_UP[:80, -1].exp()).log().mean()
    made_up = -WITH_MADE_UP[80:, -1].mean()
    torch.testing.assert_close(minimax.discriminator(judged(real), judged(fake)), any_class + made_up)


def test_large_logits_do_not_overflow():
    torch.testing.assert_close(
        judged(torch.tensor([[1e4, 1e4], [-1e4, -2e4]])), torch.tensor([1e4 + math.log(2), -1e4])
    )


def test_it_reads_the_head_that_it_is_told_of_any_trunk():
    network = mlp.Discriminator([3], widths=[4], readout=lambda f: LogSumExp(f, "b"), heads={"a": 5, "b": 2})
    output = network(torch.randn(6, 3))
    assert output.logits.equal(output.heads["b"].logsumexp(1))
    assert not list(network.readout.parameters())


def test_a_head_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(
        Mistake, match=r"reads head label, and the discriminator's heads are digit\. Say .*\{label: 10\}"
    ):
        LogSumExp(4)(torch.zeros(2, 4), None, {"digit": torch.zeros(2, 3)})


@pytest.mark.parametrize("architecture", ["mlp", "conv28", "dcgan", "salimans2016_mnist", "salimans2016_cifar"])
def test_it_is_one_override_on_any_architecture(architecture):
    config = compose([f"architecture={architecture}", "+layer@architecture.discriminator.readout=log_sum_exp"])
    check(config)
    assert config.architecture.discriminator.readout._target_.endswith("LogSumExp")
