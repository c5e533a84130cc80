"""Laws of hiding and pasting: what is known is untouched, bit for bit, and gives no gradient."""

from __future__ import annotations

import pytest
import torch

from saddlepoint.error import Mistake
from saddlepoint.layer.hide import Hide
from saddlepoint.layer.paste import Paste
from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.stream import Stream

MASK = BoxMask([3, 6, 6], place="random").sample(4, Stream(0, "hole"))
X, MADE = torch.randn(2, 4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def test_what_is_hidden_is_the_value_and_all_else_is_x_bit_for_bit():
    known = Hide(value=0.25)(X, {"mask": MASK})
    hole = MASK.bool().expand_as(X)
    assert (known[hole] == 0.25).all()
    assert torch.equal(known[~hole], X[~hole])


def test_pasted_samples_are_generated_in_the_hole_and_known_outside_bit_for_bit():
    known = Hide()(X, {"mask": MASK})
    pasted = Paste()(MADE, {"known": known, "mask": MASK})
    hole = MASK.bool().expand_as(X)
    assert torch.equal(pasted[hole], MADE[hole])
    assert torch.equal(pasted[~hole], X[~hole])
    half = Paste()(MADE.bfloat16(), {"known": known, "mask": MASK})
    assert torch.equal(half[~hole], X[~hole]), "under bf16 too"


def test_no_gradient_comes_from_outside_of_the_hole():
    made = MADE.clone().requires_grad_()
    Paste()(made, {"known": X, "mask": MASK}).sum().backward()
    assert torch.equal(made.grad, MASK.expand_as(X))


def test_a_condition_that_is_not_there_or_of_another_shape_is_refused():
    with pytest.raises(Mistake, match=r"hide reads the condition mask, .*has masks\. Did you mean masks\?"):
        Hide()(X, {"masks": MASK})
    with pytest.raises(Mistake, match=r"paste reads the condition known"):
        Paste()(X, {"mask": MASK})
    with pytest.raises(Mistake, match=r"known has shape \[4, 1, 6, 6\] and what is generated \[4, 3, 6, 6\]"):
        Paste()(X, {"mask": MASK, "known": X[:, :1]})
