"""Standing statistics are the mean and variance over the union of all passes, and nothing of them is kept."""

import copy

import pytest
import torch
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.layer.conditional_batch_norm import ConditionalBatchNorm
from saddlepoint.layer.standing_statistics import standing_statistics


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize("sizes", [(8, 8, 8), (5, 11)])  # passes of unequal sizes count by their rows
def test_the_statistics_of_a_first_layer_are_those_of_the_union_of_its_inputs(sizes):
    net = network()
    batches = [torch.randn(n, 3) * (1 + i) + i for i, n in enumerate(sizes)]
    with standing_statistics([net], [lambda x=x: net(x) for x in batches]):
        inputs = net[0](torch.cat(batches))
        torch.testing.assert_close(net[1].running_mean, inputs.mean(0))
        torch.testing.assert_close(net[1].running_var, inputs.var(0))
        assert not torch.allclose(net[1].running_var, sum(net[0](x).var(0) for x in batches) / len(batches), rtol=0.1)


def test_later_layers_see_earlier_ones_normalised_by_the_batch_and_no_dropout():
    net = network()
    batches = [torch.randn(16, 3) for _ in range(3)]
    with standing_statistics([net], [lambda x=x: net(x) for x in batches]):
        first = [nn.functional.batch_norm(net[0](x), None, None, net[1].weight, net[1].bias, True) for x in batches]
        torch.testing.assert_close(net[4].running_mean, net[3](torch.cat(first)).mean(0))
        torch.testing.assert_close(net[4].running_var, net[3](torch.cat(first)).var(0))


@pytest.mark.parametrize("training", [True, False])
def test_the_state_of_the_network_is_restored_also_after_an_error(training):
    net = network().train(training)
    net(torch.randn(8, 3))
    before = copy.deepcopy(net.state_dict())

    def failing():
        net(torch.randn(8, 3))
        raise RuntimeError("in a pass")

    with standing_statistics([net], [lambda: net(torch.randn(8, 3))]):
        assert not torch.equal(net[1].running_mean, before["1.running_mean"])
        assert net.training is training
    with pytest.raises(RuntimeError, match="in a pass"), standing_statistics([net], [failing]):
        pass
    assert {module.training for module in net.modules()} == {training}
    assert not any(module._forward_pre_hooks for module in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_images_are_reduced_over_their_pixels_and_conditional_batch_norm_has_statistics_too():
    layer, x = ConditionalBatchNorm(3, classes=2), torch.randn(6, 3, 4, 5)
    with standing_statistics([layer], [lambda: layer(x, {"label": torch.zeros(6, dtype=torch.int64)})]):
        torch.testing.assert_close(layer.norm.running_mean, x.mean((0, 2, 3)))
        torch.testing.assert_close(layer.norm.running_var, x.transpose(0, 1).flatten(1).var(1))


def test_a_layer_that_no_pass_uses_keeps_its_statistics():
    used, unused = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    unused.running_mean.fill_(2.0)
    with standing_statistics([used, unused], [lambda: used(torch.randn(4, 3))]):
        assert unused.running_mean.tolist() == [2.0] * 3
        assert unused.running_var.tolist() == [1.0] * 3


def test_networks_without_running_statistics_are_refused():
    for net in (nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)):
        with pytest.raises(Mistake, match="no batch norm with running statistics"), standing_statistics([net], []):
            pass
