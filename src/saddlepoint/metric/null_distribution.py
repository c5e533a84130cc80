"""A score's null distribution: what it is where the fakes are as good as other reals, drawn R times.

    p = (1 + #{r : null_r at least as bad as the score}) / (R + 1)

Davison & Hinkley 1997 (Bootstrap Methods and their Application, section 4.2).  The one that is added keeps p from 0: R
draws can say 1 / (R + 1) at the least.  A maximum over classes needs it most, as it is large by chance alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

QUANTILES = {"5%": 0.05, "50%": 0.5, "95%": 0.95}


def p_value(observed: Tensor, null: Tensor, higher_is_better: bool) -> Tensor:
    """How often chance is as bad as `observed` [...], by null draws [R, ...]: float64 [...], in [1 / (R + 1), 1]."""
    as_bad = null <= observed if higher_is_better else null >= observed
    return (1 + as_bad.sum(0)).to(torch.float64) / (len(null) + 1)


def reading(observed: Tensor, null: Tensor, higher_is_better: bool) -> dict[str, Any]:
    """A scalar read against its null draws [R], in plain values: p, the draws' mean and quantiles, their number."""
    quantiles = {name: null.quantile(q).item() for name, q in QUANTILES.items()}
    p = p_value(observed, null, higher_is_better).item()
    return {"p": p, "null": {"mean": null.mean().item(), **quantiles, "draws": len(null)}}
