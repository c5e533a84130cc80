"""Self-attention, minibatch standard deviation, pixel norm and noise injection: closed forms and invariants."""

import pytest
import torch

from saddlepoint.layer.minibatch_standard_deviation import MinibatchStandardDeviation
from saddlepoint.layer.noise_injection import NoiseInjection
from saddlepoint.layer.pixel_norm import PixelNorm
from saddlepoint.layer.self_attention import SelfAttention


def test_self_attention_starts_as_the_identity() -> None:
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(SelfAttention(16)(x), x)


@pytest.mark.parametrize(("pool", "side"), [(False, 6), (True, 6), (True, 5)])
def test_self_attention_is_the_softmax_of_query_times_key_over_values(pool: bool, side: int) -> None:
    torch.manual_seed(0)
    layer = SelfAttention(16, pool)
    layer.gamma.data.fill_(0.7)
    x = torch.randn(2, 16, side, side)
    pooled = (lambda m: torch.nn.functional.max_pool2d(m, 2)) if pool and side % 2 == 0 else (lambda m: m)
    q, k, v = layer.query(x).flatten(2), pooled(layer.key(x)).flatten(2), pooled(layer.value(x)).flatten(2)
    weights = (q.transpose(1, 2) @ k).softmax(2)  # [N, queries, keys]
    attended = (v @ weights.transpose(1, 2)).view(2, 8, side, side)
    assert torch.allclose(layer(x), x + 0.7 * layer.output(attended), atol=1e-5)


def test_self_attention_has_second_derivatives_which_penalties_on_slopes_need() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(8).double()
    layer.gamma.data.fill_(0.7)
    assert torch.autograd.gradgradcheck(layer, torch.randn(1, 8, 2, 2, dtype=torch.float64, requires_grad=True))


def test_self_attention_refuses_few_features_and_vectors() -> None:
    with pytest.raises(ValueError, match="too few"):
        SelfAttention(4)
    with pytest.raises(ValueError, match="feature maps"):
        SelfAttention(16)(torch.zeros(2, 16))


@pytest.mark.parametrize("group", [0, 2, 4])
def test_the_added_feature_is_the_mean_standard_deviation_of_the_group(group: int) -> None:
    x = torch.randn(8, 5, dtype=torch.float64)
    out = MinibatchStandardDeviation(5, group, eps=0)(x)
    assert torch.equal(out[:, :5], x)
    for rows, added in zip(x.split(group or 8), out[:, 5].split(group or 8), strict=True):
        assert torch.allclose(added, rows.std(0, correction=0).mean().expand(len(rows)))


@pytest.mark.parametrize("group", [0, 2])
def test_maps_get_a_constant_map_with_the_deviation_of_all_their_numbers(group: int) -> None:
    x = torch.randn(4, 3, 2, 2)
    out = MinibatchStandardDeviation(3, group)(x)
    assert out.shape == (4, 4, 2, 2)
    flat = MinibatchStandardDeviation(12, group)(x.flatten(1))
    assert torch.equal(out[:, 3], flat[:, 12, None, None].expand(-1, 2, 2))


def test_equal_samples_have_no_deviation_and_a_rest_forms_a_smaller_group() -> None:
    layer = MinibatchStandardDeviation(3, 4)
    assert layer.features == 4
    out = layer(torch.ones(6, 3))
    assert out.shape == (6, 4)
    assert torch.allclose(out[:, 3], torch.full((6,), 1e-4))  # sqrt(eps)
    with pytest.raises(ValueError, match="group"):
        MinibatchStandardDeviation(3, 1)


def test_pixel_norm_gives_each_pixel_mean_square_one_whatever_the_scale() -> None:
    x = torch.randn(3, 7, 2, 2, dtype=torch.float64)
    out = PixelNorm(7)(x)
    assert torch.allclose(out.square().mean(1), torch.ones(3, 2, 2, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(out, PixelNorm(7)(1000 * x), atol=1e-6)


@pytest.mark.parametrize("layer", [PixelNorm(4), MinibatchStandardDeviation(4, 0)])
def test_features_that_are_0_have_a_finite_gradient_in_half_precision(layer: torch.nn.Module) -> None:
    """1e-8 is 0 in float16."""
    x = torch.zeros(4, 4, dtype=torch.float16, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    assert gradient.isfinite().all()


def test_noise_is_one_number_per_pixel_scaled_per_channel_and_off_in_evaluation() -> None:
    layer = NoiseInjection(3)
    x = torch.zeros(4, 3, 5, 5)
    assert torch.equal(layer(x), x)  # strengths start at 0
    layer.strength.data = torch.tensor([1.0, 2.0, -1.0])
    torch.manual_seed(0)
    out = layer(x)
    torch.manual_seed(0)
    noise = torch.randn(4, 5, 5)  # of each sample
    assert torch.equal(out, torch.stack([noise, 2 * noise, -noise], 1))
    assert torch.equal(layer.eval()(x), x)
