"""Laws of the projection readout: the linear readout for zero embeddings, and the log-ratio as its optimum."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from saddlepoint.architecture import mlp
from saddlepoint.error import Mistake
from saddlepoint.layer.projection import Projection
from saddlepoint.layer.readout import LinearReadout


def test_with_a_zero_embedding_it_is_the_linear_readout_bit_for_bit():
    ours, theirs = Projection(5, 3), LinearReadout(5)
    nn.init.zeros_(ours.embedding.weight)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    features, twin = (torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    logits = ours(features, {"label": torch.tensor([0, 1, 2, 2, 1, 0])}, {})
    expected = theirs(twin, {}, {})
    assert torch.equal(logits, expected)
    logits.sum().backward()
    expected.sum().backward()
    assert torch.equal(features.grad, twin.grad)
    assert torch.equal(ours.linear.weight.grad, theirs.linear.weight.grad)


def test_a_discriminator_with_it_has_the_same_initial_trunk_and_linear_readout_as_without():
    torch.manual_seed(0)
    plain = mlp.Discriminator((2,), [8])
    torch.manual_seed(0)
    projected = mlp.Discriminator((2,), [8], readout=lambda features: Projection(features, 3))
    nn.init.zeros_(projected.readout.embedding.weight)
    x = torch.randn(6, 2)
    assert torch.equal(projected(x, {"label": torch.arange(6) % 3}).logits, plain(x).logits)


def test_its_optimum_is_the_log_ratio_of_the_joint_distributions():
    """For x with 5 values (one-hot features) and y with 3: log p(x, y) / q(x, y), with exact expectations."""
    torch.manual_seed(2)
    p, q = torch.randn(2, 3, 5, dtype=torch.float64).flatten(1).softmax(1).view(2, 3, 5)
    readout = Projection(5, 3).double()
    optimizer = torch.optim.LBFGS(
        readout.parameters(), max_iter=2000, max_eval=4000, tolerance_grad=1e-12, tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    y, x = torch.cartesian_prod(torch.arange(3), torch.arange(5)).T

    def logits():
        return readout(torch.eye(5, dtype=torch.float64)[x], {"label": y}, {}).view(3, 5)

    def loss():
        optimizer.zero_grad()
        cross_entropy = (p * softplus(-logits())).sum() + (q * softplus(logits())).sum()
        cross_entropy.backward()
        return cross_entropy

    optimizer.step(loss)
    torch.testing.assert_close(logits().detach(), (p / q).log(), atol=1e-4, rtol=1e-4)
    assert (readout.linear.weight + readout.linear.bias - (p / q).log()).abs().max() > 0.3, (
        "the optimum depends on the class"
    )


def test_missing_or_invalid_labels_are_refused():
    with pytest.raises(Mistake, match=r"projection reads the condition label, .* has no entries"):
        Projection(2, 3)(torch.randn(4, 2), {}, {})
    with pytest.raises(Mistake, match="has 3 classes, numbered from 0"):
        Projection(2, 3)(torch.randn(2, 2), {"label": torch.tensor([0, 3])}, {})
    with pytest.raises(ValueError, match="classes=0"):
        Projection(2, 0)
