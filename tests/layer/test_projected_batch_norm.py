"""Batch norm with gains and biases linear in a vector: a closed form, and plain batch norm for the vector 0."""

import pytest
import torch
from torch.nn import BatchNorm2d

from saddlepoint.error import Mistake
from saddlepoint.layer.projected_batch_norm import ProjectedBatchNorm


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 3)])
def test_gain_and_bias_are_linear_in_the_vector_of_each_sample(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = ProjectedBatchNorm(4, 5, entry="style", eps=1e-3)
    x, vector = torch.randn(shape) * 3 + 1, torch.randn(6, 5)
    dims = [0, *range(2, x.ndim)]
    normal = (x - x.mean(dims, keepdim=True)) / (x.var(dims, correction=0, keepdim=True) + 1e-3).sqrt()
    for i, out in enumerate(layer(x, {"style": vector})):
        column = (-1, *[1] * (x.ndim - 2))
        gain, bias = 1 + layer.gain.weight @ vector[i], layer.bias.weight @ vector[i]
        assert torch.allclose(out, gain.view(column) * normal[i] + bias.view(column), atol=1e-5)


def test_with_the_vector_0_it_is_batch_norm_with_the_same_running_statistics() -> None:
    layer, plain = ProjectedBatchNorm(4, 5), BatchNorm2d(4, affine=False)
    for _ in range(3):
        x = torch.randn(6, 4, 3, 3) * 2 + 1
        assert torch.allclose(layer(x, {"vector": torch.zeros(6, 5)}), plain(x), atol=1e-6)
    assert torch.equal(layer.norm.running_var, plain.running_var)
    assert {name for name, _ in layer.named_parameters()} == {"gain.weight", "bias.weight"}
    assert layer(x.bfloat16(), {"vector": torch.zeros(6, 5)}).dtype == torch.bfloat16
    with pytest.raises(Mistake, match="projected batch norm reads the condition vector"):
        layer(x, {})
