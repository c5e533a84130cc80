"""Clipped sums of per-sample gradients against a loop over the samples, and their sensitivity."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from saddlepoint.architecture.conv28 import Discriminator
from saddlepoint.privacy.clipped_gradient import clipped_gradient_sum
from saddlepoint.turn import DiscriminatorOutput

N = 5


class Critic(nn.Module):
    """A perceptron of x and a class, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.label, self.last = nn.Linear(3, 4), nn.Embedding(2, 4), nn.Linear(4, 1)
        self.double()

    def forward(self, x, condition):
        return DiscriminatorOutput(self.last((self.first(x) + self.label(condition["label"])).tanh()).flatten())


def samples(n: int = N, scale: float = 1.0) -> tuple[nn.Module, Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    network = Critic()
    return network, scale * torch.randn(n, 3, dtype=torch.float64), {"label": torch.arange(n) % 2}


def loss(logits: Tensor) -> Tensor:
    return softplus(-logits).mean()


def looped(
    network: nn.Module, x: Tensor, condition: dict[str, Tensor], clip: float
) -> tuple[list[Tensor], list[float]]:
    """The clipped sum and the norms, by one backward pass per sample."""
    parameters = list(network.parameters())
    total, norms = [torch.zeros_like(p) for p in parameters], []
    for i in range(len(x)):
        rows = {name: entry[i : i + 1] for name, entry in condition.items()}
        gradients = torch.autograd.grad(loss(network(x[i : i + 1], rows).logits), parameters)
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        total = [t + min(1.0, clip / norm) * gradient for t, gradient in zip(total, gradients, strict=True)]
        norms.append(norm)
    return total, norms


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_with_spectral_norm_a_sample_changes_the_sum_by_the_clip_at_most_and_no_buffer(rows: int) -> None:
    """The power iteration of spectral norm advances once per call, and calls are as many as chunks of samples."""
    network, x, condition = samples()
    network.first = nn.utils.parametrizations.spectral_norm(network.first)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    total = clipped_gradient_sum(network, loss, x, condition, 0.1, rows)[0]
    less = clipped_gradient_sum(network, loss, x[1:], {"label": condition["label"][1:]}, 0.1, rows)[0]
    one = clipped_gradient_sum(network, loss, x[:1], {"label": condition["label"][:1]}, 0.1, rows)[0]
    for name, value in total.items():
        torch.testing.assert_close(value - less[name], one[name])
    assert sum(float(value.square().sum()) for value in one.values()) <= 0.1**2 * (1 + 1e-9)
    assert all(buffer.equal(before[name]) for name, buffer in network.named_buffers())


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("clip", [0.1, 0.6, math.inf])
def test_the_sum_equals_that_of_a_loop_whatever_the_chunks(clip: float, rows: int) -> None:
    network, x, condition = samples()
    total, norms, logits = clipped_gradient_sum(network, loss, x, condition, clip, rows)
    expected, expected_norms = looped(network, x, condition, clip)
    assert list(total) == [name for name, _ in network.named_parameters()]
    for gradient, reference in zip(total.values(), expected, strict=True):
        torch.testing.assert_close(gradient, reference)
    torch.testing.assert_close(norms.tolist(), expected_norms)
    torch.testing.assert_close(logits, network(x, condition).logits)


def test_the_gradients_of_a_convolution_with_a_class_equal_a_loop() -> None:
    torch.manual_seed(0)
    network = Discriminator((1, 28, 28), condition={"label": 3})
    x, condition = torch.randn(3, 1, 28, 28), {"label": torch.tensor([2, 0, 1])}
    total, norms, _ = clipped_gradient_sum(network, loss, x, condition, 1.0, 2)
    expected, expected_norms = looped(network, x, condition, 1.0)
    assert norms.tolist() == pytest.approx(expected_norms, rel=1e-4)
    for gradient, reference in zip(total.values(), expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e6])
def test_removing_one_sample_changes_the_sum_by_at_most_the_clip(scale: float) -> None:
    network, x, condition = samples(scale=scale)
    clip = 0.3
    whole, norms, _ = clipped_gradient_sum(network, loss, x, condition, clip, 2)
    for i in range(N):
        rest = [j for j in range(N) if j != i]
        without, _, _ = clipped_gradient_sum(network, loss, x[rest], {"label": condition["label"][rest]}, clip, 2)
        change = torch.cat([(whole[name] - without[name]).flatten() for name in whole]).norm().item()
        assert change <= clip * (1 + 1e-12)
        assert change == pytest.approx(min(clip, norms[i].item()))


def test_no_sample_gives_zeros_and_a_frozen_parameter_none() -> None:
    network, x, condition = samples()
    network.first.bias.requires_grad_(False)
    total, norms, logits = clipped_gradient_sum(network, loss, x[:0], {"label": condition["label"][:0]}, 1.0, 4)
    assert len(norms) == len(logits) == 0
    assert "first.bias" not in total
    assert not any(gradient.any() for gradient in total.values())
