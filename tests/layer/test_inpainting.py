"""Laws of hide and paste: known pixels are unchanged bit for bit and have no gradient."""

from __future__ import annotations

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.layer.hide import Hide
from saddlepoint.layer.paste import Paste
from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.stream import Stream

MASK = BoxMask([3, 6, 6], place="random").sample(4, Stream(0, "hole"))
X, FAKE = torch.randn(2, 4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def test_hide_sets_the_value_inside_the_mask_and_keeps_x_outside_bit_for_bit():
    known = Hide(value=0.25)(X, {"mask": MASK})
    hole = MASK.bool().expand_as(X)
    assert (known[hole] == 0.25).all()
    assert torch.equal(known[~hole], X[~hole])


def test_paste_keeps_generated_pixels_inside_the_mask_and_known_ones_outside_bit_for_bit():
    known = Hide()(X, {"mask": MASK})
    pasted = Paste()(FAKE, {"known": known, "mask": MASK})
    hole = MASK.bool().expand_as(X)
    assert torch.equal(pasted[hole], FAKE[hole])
    assert torch.equal(pasted[~hole], X[~hole])
    half = Paste()(FAKE.bfloat16(), {"known": known, "mask": MASK})
    assert torch.equal(half[~hole], X[~hole]), "under bf16 too"


def test_no_gradient_comes_from_outside_of_the_mask():
    fake = FAKE.clone().requires_grad_()
    Paste()(fake, {"known": X, "mask": MASK}).sum().backward()
    assert torch.equal(fake.grad, MASK.expand_as(X))


def test_a_missing_condition_or_another_shape_is_refused():
    with pytest.raises(Mistake, match=r"hide reads the condition mask, .*has masks\. Did you mean masks\?"):
        Hide()(X, {"masks": MASK})
    with pytest.raises(Mistake, match=r"paste reads the condition known"):
        Paste()(X, {"mask": MASK})
    with pytest.raises(Mistake, match=r"known has shape \[4, 1, 6, 6\], but the generated samples have \[4, 3, 6, 6\]"):
        Paste()(X, {"mask": MASK, "known": X[:, :1]})
