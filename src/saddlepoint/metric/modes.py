"""Captured modes, fraction of high quality and reverse KL of points, for a mixture of Gaussians with known modes.

    x belongs to its nearest mode k, and is of high quality if |x - mu_k| / sigma < 3
    captured      #{k : some point of high quality belongs to k}                               of M modes
    high_quality  points of high quality / points
    reverse_kl    KL(q || w) = sum_k q_k ln(q_k / w_k), q the histogram of the points of high quality over the modes,
                  w the weights of the mixture

Srivastava et al. 2017 (VEEGAN, arXiv:1705.07761) and Lin et al. 2018 (PacGAN, arXiv:1712.04086), who measure 2,500
points.  They use KL(q || uniform), which is the same for their rings and grids, as these have equal weights.  The ring
of Metz et al. 2017 has unequal weights, and with w a perfect sampler still scores 0.  Points are measured as they are,
without the extractor.

In the plane a perfect sampler has 1 - exp(-9/2) = 98.89% of high quality; a higher value means that the generator is
*narrower* than the data.  8/8 modes at 53% and 7/8 at 98% are different failures, so read all three scores.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.occupancy import captured_modes, expected_captured_modes, expected_histogram_kl, histogram_kl

UNKNOWN = "it needs to know the modes, and these data do not define any (data=gaussians does)"


def mode_counts(x: Tensor, modes: Tensor, sigma: float, deviations: float = 3.0) -> Tensor:
    """Count the points x [N, D] of high quality per mode [M, D], and last those of low quality: int64 [M + 1]."""
    # without matrix products, which lose the digits that matter for a sigma of 0.01
    distance = torch.cdist(
        x.to(torch.float64), modes.to(torch.float64), compute_mode="donot_use_mm_for_euclid_dist"
    ).min(1)
    owner = torch.where(distance.values / sigma < deviations, distance.indices, len(modes))
    return owner.bincount(minlength=len(modes) + 1)


class Modes(Metric):
    """How well the points cover the modes of the data."""

    needs_reals = False
    needs_features = False
    contract_attributes = ("deviations",)

    def __init__(self, deviations: float = 3.0) -> None:
        if not deviations > 0:
            raise Mistake(f"modes.deviations={deviations}: give a positive number of standard deviations.")
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
            raise ValueError("modes are counted on samples, and need the data: call setup(data) first")
        counts = mode_counts(features.x.to(self.device), self._modes.to(self.device), self._sigma, self.deviations)
        self.append_rows("counts", counts.unsqueeze(0))

    def compute(self) -> dict[str, Result]:
        """Return "captured" and "high_quality", and "reverse_kl" if some point is of high quality."""
        assert self._modes is not None
        counts = self.all_rows("counts").sum(0)
        good = counts[:-1]
        rows = [
            {"mode": ", ".join(f"{round(side, 6) + 0:.3g}" for side in mode), "points": points, "weight": weight}
            for mode, points, weight in zip(self._modes.tolist(), good.tolist(), self._weights.tolist(), strict=True)
        ]
        detail: dict[str, Any] = {"modes": rows}
        results = {"high_quality": Result(good.sum() / counts.sum().to(torch.float64))}
        if good.sum() > 0:
            results["reverse_kl"] = Result(histogram_kl(good, self._weights))
        else:
            detail["note"] = "no point is of high quality, so there is no reverse KL"
        return {"captured": Result(captured_modes(good), None, detail)} | results

    def directions(self) -> dict[str, bool]:
        return {"captured": True, "high_quality": True, "reverse_kl": False}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the expected scores of n points of the mixture; exact if the modes do not overlap."""
        assert self._modes is not None
        half = torch.tensor([self._modes.shape[1] / 2, self.deviations**2 / 2], dtype=torch.float64)
        good = float(torch.special.gammainc(half[0], half[1]))  # P(chi^2 with D degrees of freedom < deviations^2)
        expected = {"captured": expected_captured_modes(self._weights * good, n), "high_quality": good}
        if n_good := round(n * good):
            expected["reverse_kl"] = expected_histogram_kl(self._weights, n_good, self._weights)
        return {"perfect sampler": expected}
