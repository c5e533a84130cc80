"""Laws of conditional batch norm: with one class it equals torch's, and each class equals one of torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.game.average import BatchNorm
from saddlepoint.layer.conditional_batch_norm import ConditionalBatchNorm
from saddlepoint.layer.conditional_sequential import ConditionalSequential

SHAPES = [(6, 4), (6, 4, 5), (6, 4, 3, 5), (6, 4, 2, 3, 2)]
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def pair(shape, **settings):
    """Return the layer with one class and torch's, with the same random gains and biases."""
    torch.manual_seed(0)
    ours, theirs = ConditionalBatchNorm(4, 1, **settings), TORCH[len(shape)](4, **settings)
    with torch.no_grad():
        theirs.weight.copy_(ours.norm.weight.normal_())
        theirs.bias.copy_(ours.norm.bias.normal_())
    return ours, theirs


@pytest.mark.parametrize("momentum", [0.1, 0.0, None])
@pytest.mark.parametrize("shape", SHAPES)
def test_with_one_class_it_is_batch_norm_bit_for_bit_in_value_gradient_and_statistics(shape, momentum):
    ours, theirs = pair(shape, momentum=momentum)
    label = {"label": torch.zeros(6, dtype=torch.int64)}
    for _ in range(3):
        x = torch.randn(shape, requires_grad=True)
        twin, weight = x.detach().clone().requires_grad_(), torch.randn(shape)
        (ours(x, label) * weight).sum().backward()
        (theirs(twin) * weight).sum().backward()
        assert torch.equal(ours(x, label), theirs(twin))
        assert torch.equal(x.grad, twin.grad)
        assert torch.equal(ours.norm.weight.grad, theirs.weight.grad)
        assert torch.equal(ours.norm.bias.grad, theirs.bias.grad)
    for name, value in theirs.named_buffers():
        assert torch.equal(dict(ours.norm.named_buffers())[name], value), name
    x = torch.randn(shape)
    assert torch.equal(ours.eval()(x, label), theirs.eval()(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_class_has_its_own_gain_and_bias_and_all_share_the_statistics(shape):
    torch.manual_seed(0)
    ours, label = ConditionalBatchNorm(4, 3).double(), torch.tensor([0, 2, 1, 2, 2, 0])
    nn.init.normal_(ours.gain)
    nn.init.normal_(ours.bias)
    x = torch.randn(shape, dtype=torch.float64)
    for training in (True, False):
        ours.train(training)
        theirs = []
        for k in range(3):
            layer = TORCH[len(shape)](4).double().train(training)
            with torch.no_grad():
                layer.weight.copy_(ours.gain[k])
                layer.bias.copy_(ours.bias[k])
                for buffer, source in zip(layer.buffers(), ours.norm.buffers(), strict=True):
                    buffer.copy_(source)
            theirs.append(layer(x))
        expected = torch.stack([theirs[k][i] for i, k in enumerate(label.tolist())])
        torch.testing.assert_close(ours(x, {"label": label}), expected)


def test_only_the_classes_of_the_batch_get_a_gradient():
    layer = ConditionalBatchNorm(4, 3)
    layer(torch.randn(6, 4), {"label": torch.tensor([0, 2, 0, 2, 2, 0])}).square().sum().backward()
    assert layer.gain.grad.any(1).tolist() == [True, False, True]


def test_gains_start_at_1_and_biases_at_0_and_averages_and_ranks_find_one_batch_norm():
    layer = ConditionalBatchNorm(4, 3)
    assert [type(module) for module in layer.modules() if isinstance(module, BatchNorm)] == [type(layer.norm)]
    x = torch.randn(6, 4)
    expected = nn.BatchNorm1d(4, affine=False)(x)
    torch.testing.assert_close(layer(x, {"label": torch.tensor([0, 1, 2, 0, 1, 2])}), expected)


def test_batch_statistics_do_not_change_the_running_ones():
    layer = ConditionalBatchNorm(4, 2).eval()
    label = {"label": torch.tensor([0, 1, 0, 1, 0, 1])}
    x, norm = 3 + torch.randn(6, 4), layer.norm
    running = norm.running_mean, norm.running_var
    norm.running_mean = norm.running_var = None  # as game.sample(batch_norm="batch") does
    torch.testing.assert_close(layer(x, label).mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    norm.running_mean, norm.running_var = running
    torch.testing.assert_close(layer(x, label), x / (1 + 1e-5) ** 0.5)


def test_a_conditional_sequential_passes_the_condition_also_after_a_copy():
    net = ConditionalSequential(nn.Linear(2, 4), ConditionalBatchNorm(4, 2), nn.ReLU())
    other = copy.deepcopy(net)
    x, label = torch.randn(6, 2), {"label": torch.tensor([0, 1, 0, 1, 0, 1])}
    assert torch.equal(net(x, label), other(x, label))
    with pytest.raises(Mistake, match=r"conditional batch norm reads the condition label, .* has no entries"):
        net(x)


@pytest.mark.parametrize("classes", [1, 3])
def test_conversion_to_sync_batch_norm_keeps_the_classes(classes):
    torch.manual_seed(0)
    net = ConditionalSequential(nn.Linear(2, 4), ConditionalBatchNorm(4, classes))
    for p in net.parameters():
        nn.init.normal_(p)
    other = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net))
    assert isinstance(other[1].norm, nn.SyncBatchNorm)
    x, label = torch.randn(6, 2), {"label": torch.arange(6) % classes}
    for training in (True, False):
        torch.testing.assert_close(other.train(training)(x, label), net.train(training)(x, label))
    assert list(other.state_dict()) == list(net.state_dict())


def test_half_precision_input_gives_half_precision_output():
    layer, label = ConditionalBatchNorm(4, 2), {"label": torch.tensor([0, 1, 0, 1, 0, 1])}
    assert layer(torch.randn(6, 4).bfloat16(), label).dtype == torch.bfloat16


@pytest.mark.parametrize("label", [torch.tensor([0.0, 1.0]), torch.tensor([[0], [1]]), torch.tensor([True, False])])
def test_anything_but_class_labels_is_refused(label):
    with pytest.raises(Mistake, match=r"as class labels, integers of shape \[N\], but it is"):
        ConditionalBatchNorm(4, 2)(torch.randn(2, 4), {"label": label})
    with pytest.raises(ValueError, match="classes=0"):
        ConditionalBatchNorm(4, 0)
