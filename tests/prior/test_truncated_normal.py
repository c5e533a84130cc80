"""The truncated normal against its closed form."""

import math

import pytest
import torch

from saddlepoint.prior.normal import Normal
from saddlepoint.prior.truncated_normal import TruncatedNormal
from saddlepoint.stream import Stream

N = 200_000


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.5])
def test_it_never_exceeds_the_threshold_and_has_the_variance_of_the_closed_form(threshold):
    z = TruncatedNormal(1, threshold).sample(N, Stream(0, "latent")).double()
    density, inside = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi), math.erf(threshold / math.sqrt(2))
    variance = 1 - 2 * threshold * density / inside
    assert z.abs().max() <= threshold
    assert abs(z.mean()) < 4 * math.sqrt(variance / N)
    assert z.var().item() == pytest.approx(variance, abs=4 * (z.square().var().item() / N) ** 0.5)


def test_values_inside_are_those_of_the_normal():
    z, truncated = (part.sample(64, Stream(0, "latent")) for part in (Normal(5), TruncatedNormal(5, 1.0)))
    beyond = z.abs() > 1
    assert beyond.any()
    assert torch.equal(truncated[~beyond], z[~beyond])
    assert len(truncated[beyond].unique()) == beyond.sum()


def test_drawing_rows_in_chunks_equals_drawing_them_at_once():
    part, stream = TruncatedNormal(3, 0.5), Stream(3, "latent")
    assert torch.equal(torch.cat([part.sample(n, stream) for n in (1, 5, 31)]), part.sample(37, Stream(3, "latent")))


def test_a_traversal_stays_inside():
    assert TruncatedNormal(1, 0.5).span == (-0.5, 0.5)
    assert TruncatedNormal(1, 3.0).span == Normal.span


@pytest.mark.parametrize("threshold", [0, -1.0, math.nan])
def test_a_threshold_that_is_not_positive_is_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold=.* must be above 0"):
        TruncatedNormal(1, threshold)
