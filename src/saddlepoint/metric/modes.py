"""Modes captured, share of high quality and reverse KL: points against a mixture of Gaussians whose modes are known.

    x belongs to its nearest mode k, and is of high quality where |x - mu_k| / sigma < 3
    captured      #{k : some point of high quality belongs to k}                               of M modes
    high_quality  points of high quality / points
    reverse_kl    KL(q || w) = sum_k q_k ln(q_k / w_k), q the histogram of the points of high quality over the modes,
                  w the mixture's own weights

Srivastava et al. 2017 (VEEGAN, arXiv:1705.07761) and Lin et al. 2018 (PacGAN, arXiv:1712.04086), who measure 2,500
points.  They write KL(q || uniform); their rings and grids have equal weights, where both are one number.  The ring of
Metz et al. 2017 has not, and against w a perfect sampler still scores 0.  Points are measured as they are, whatever the
extractor.

A perfect sampler of the plane has 1 - exp(-9/2) = 98.89% of high quality: a figure above it speaks of a generator
*narrower* than the data.  8/8 modes at 53% and 7/8 at 98% are different failures, so read all three.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.occupancy import captured_modes, expected_captured_modes, expected_histogram_kl, histogram_kl

UNKNOWN = "it needs to know the modes, and this data names none (data=gaussians does)"


def mode_counts(x: Tensor, modes: Tensor, sigma: float, deviations: float = 3.0) -> Tensor:
    """Points of high quality of each mode, and last those of low quality, int64 [M + 1]; x [N, D], modes [M, D]."""
    # without matrix products: they would lose the digits that a sigma of 0.01 lives in
    distance = torch.cdist(
        x.to(torch.float64), modes.to(torch.float64), compute_mode="donot_use_mm_for_euclid_dist"
    ).min(1)
    owner = torch.where(distance.values / sigma < deviations, distance.indices, len(modes))
    return owner.bincount(minlength=len(modes) + 1)


class Modes(Metric):
    """What the points capture of the modes of the data that it has met."""

    needs_reals = False
    needs_features = False
    contract_attributes = ("deviations",)

    def __init__(self, deviations: float = 3.0) -> None:
        if not deviations > 0:
            raise Mistake(f"modes.deviations={deviations}: a positive number of standard deviations is needed.")
        super().__init__()
        self.deviations = deviations
        self._modes: Tensor | None = None  # [M, D]
        self._weights, self._sigma = torch.empty(0), 0.0
        self.declare_states("counts")  # rows [1, M + 1]

    def setup(self, data: DataLike) -> str | None:
        modes, sigma = getattr(data, "modes", None), getattr(data, "sigma", None)
        self._modes = None
        if not isinstance(modes, Tensor) or modes.dim() != 2 or sigma is None:
            return UNKNOWN
        equal = torch.full((len(modes),), 1 / len(modes))
        self._modes, self._sigma = modes.to(torch.float64), float(sigma)
        self._weights = getattr(data, "weights", equal).to(torch.float64)
        return None

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return UNKNOWN if self._modes is None else None

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.x is None or self._modes is None:
            raise ValueError("modes are counted of the samples themselves, and of data that was met: call meet(data)")
        modes = self._modes.to(self.device)
        self.append_rows(
            "counts", mode_counts(features.x.to(self.device), modes, self._sigma, self.deviations).unsqueeze(0)
        )

    def compute(self) -> dict[str, Result]:
        """captured, high_quality and reverse_kl; without the last where no point is of high quality."""
        assert self._modes is not None
        counts = self.all_rows("counts").sum(0)
        good = counts[:-1]
        rows = [
            {"mode": ", ".join(f"{round(side, 6) + 0:.3g}" for side in mode), "points": points, "weight": weight}
            for mode, points, weight in zip(self._modes.tolist(), good.tolist(), self._weights.tolist(), strict=True)
        ]
        detail: dict[str, Any] = {"modes": rows}
        found = {"high_quality": Result(good.sum() / counts.sum().to(torch.float64))}
        if good.sum() > 0:
            found["reverse_kl"] = Result(histogram_kl(good, self._weights))
        else:
            detail["note"] = "no point is of high quality, so there is no reverse KL"
        return {"captured": Result(captured_modes(good), None, detail)} | found

    def directions(self) -> dict[str, bool]:
        return {"captured": True, "high_quality": True, "reverse_kl": False}

    def anchor_values(self, n: int) -> dict[str, Any]:
        """What n points of the mixture itself score on average; exact where the modes do not overlap."""
        assert self._modes is not None
        half = torch.tensor([self._modes.shape[1] / 2, self.deviations**2 / 2], dtype=torch.float64)
        good = float(torch.special.gammainc(half[0], half[1]))  # P(chi^2 with D degrees of freedom < deviations^2)
        floors = {"captured": expected_captured_modes(self._weights * good, n), "high_quality": good}
        if kept := round(n * good):
            floors["reverse_kl"] = expected_histogram_kl(self._weights, kept, self._weights)
        return {"perfect sampler": floors}
