"""The distribution of each prior."""

import math

import pytest
import torch

from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.prior.uniform import Uniform
from saddlepoint.stream import Stream, derive_seed


def test_a_normal_has_mean_zero_and_variance_one():
    z = Normal(4).sample(50_000, Stream(0, "latent"))
    assert z.shape == (50_000, 4)
    assert z.mean(0).abs().max() < 0.03
    assert (z.var(0) - 1).abs().max() < 0.03


def test_a_uniform_of_plus_minus_root_three_has_variance_one_and_stays_inside():
    z = Uniform(3, -math.sqrt(3), math.sqrt(3)).sample(50_000, Stream(0, "latent"))
    assert z.abs().max() <= math.sqrt(3)
    assert (z.var(0) - 1).abs().max() < 0.03


def test_categories_are_one_hot_and_equally_likely():
    c = Categorical(5).sample(50_000, Stream(0, "latent"))
    assert torch.equal(c.sum(1), torch.ones(50_000))
    assert (c.mean(0) - 0.2).abs().max() < 0.02


def test_parts_keep_their_names_and_order_and_total_dim_is_their_sum():
    prior = Prior(z=Normal(7), digit=Categorical(10), style=Uniform(2))
    assert prior.total_dim == 19
    assert {name: tuple(part.shape) for name, part in prior.sample(3, Stream(0, "latent")).items()} == {
        "z": (3, 7), "digit": (3, 10), "style": (3, 2),
    }  # fmt: skip


def test_the_nll_is_smallest_at_the_prediction():
    code = Categorical(4).sample(64, Stream(0, "a"))
    assert Categorical(4).nll(code, 50 * code) < 1e-6
    assert Categorical(4).nll(code, torch.zeros_like(code)).item() == pytest.approx(math.log(4), abs=1e-5)
    assert Uniform(2).nll(torch.ones(3, 2), torch.zeros(3, 2)).item() == pytest.approx(1.0)


def test_ranks_draw_slices_of_one_global_draw():
    full = Stream(3, "latent").normal(12, 5)
    chunks = [Stream(3, "latent", rank, 3).normal(4, 5) for rank in range(3)]
    assert torch.equal(torch.cat(chunks), full)


@pytest.mark.parametrize("draw", ["normal", "uniform", "integers"])
def test_drawing_rows_in_chunks_equals_drawing_them_at_once(draw):
    def rows(stream, n):
        return stream.integers(9, n) if draw == "integers" else getattr(stream, draw)(n, 3, 7)

    full, chunks = Stream(3, "latent"), Stream(3, "latent")
    assert torch.equal(rows(full, 37), torch.cat([rows(chunks, n) for n in (1, 5, 16, 15)]))
    assert torch.equal(full.state, chunks.state)


def test_streams_differ_by_name_and_seed_and_resume_from_a_state():
    assert derive_seed(0, "latent") != derive_seed(0, "augment") != derive_seed(1, "augment")
    stream = Stream(0, "latent")
    state = stream.state
    first = stream.uniform(5)
    assert not torch.equal(first, stream.uniform(5))
    stream.state = state
    assert torch.equal(first, stream.uniform(5))
