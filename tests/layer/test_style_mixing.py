"""Style mixing: which layers have which w, and how often."""

import torch

from saddlepoint.layer.style_mixing import mix_styles


def test_with_the_probability_a_sample_has_the_other_w_from_a_uniform_layer_on() -> None:
    torch.manual_seed(0)
    n, layers = 20_000, 5
    mixed = mix_styles(torch.zeros(n, 1), torch.ones(n, 1), torch.rand(n, 2), 0.9, layers)[..., 0]
    assert not mixed[:, 0].any(), "the first layer has its own w"
    assert (mixed.diff(dim=1) >= 0).all(), "all layers from k on have the other"
    first = (layers - mixed.sum(1)).long().bincount(minlength=layers + 1) / n
    expected = torch.tensor([0, *[0.9 / 4] * 4, 0.1])
    assert (first - expected).abs().max() < 0.01


def test_probability_0_mixes_nothing_and_1_everything() -> None:
    w, other, numbers = torch.randn(50, 3), torch.randn(50, 3), torch.rand(50, 2)
    assert torch.equal(mix_styles(w, other, numbers, 0.0, 4), w[:, None].expand(-1, 4, -1))
    assert torch.equal(mix_styles(w, other, numbers, 1.0, 4)[:, -1], other)
