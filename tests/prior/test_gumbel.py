"""Gumbel noise: argmax(logits + g) is a sample of the softmax."""

import torch

from saddlepoint.prior.gumbel import Gumbel
from saddlepoint.stream import Stream


def test_the_argmax_of_perturbed_logits_has_the_frequencies_of_the_softmax():
    logits, n = torch.tensor([0.0, 1.0, -2.0]), 100_000
    part = Gumbel((1, 3))
    p = logits.softmax(0)
    frequency = (logits + part.sample(n, Stream(0, "noise"))).argmax(1).bincount(minlength=3) / n
    assert part.dim == 3
    assert ((frequency - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()


def test_the_noise_is_finite_even_for_a_uniform_of_0(monkeypatch):
    monkeypatch.setattr(Stream, "uniform", lambda self, *shape: torch.tensor([[0.0, 1 - 2.0**-24]]))
    assert Gumbel((2,)).sample(1, Stream(0, "noise")).isfinite().all()
