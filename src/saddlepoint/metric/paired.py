"""Distances of samples from their truth, for games from image to image: sample i against the truth of row i.

    mae    E|x - t|                                  lower is better; for images in [-1, 1]
    psnr   E[10 log10(4 / mean (x - t)^2)]           dB; the mean over images of the ratio of peak 2 to noise
    ssim   E[SSIM((x + 1) / 2, (t + 1) / 2)]         Wang et al. 2004 (IEEE TIP 13:600), by torchmetrics

With a mask, all three are over the pixels inside it (for SSIM, the mean of its map there): known pixels count nothing.
They measure distortion: the least squared error is that of the posterior mean, which is blurred, so realistic samples
score lower (Blau & Michaeli 2018, arXiv:1711.06077). Report them beside a distance of distributions.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.modality import modality_of
from saddlepoint.pixel import LEVELS, to_float

PEAK = 2.0  # of values in [-1, 1]
SMALLEST_SSIM, SMALLEST_FULL = (
    6,
    16,
)  # sides in pixels: of the window's margin, and for torchmetrics' mean without margins


class Paired(Metric):
    """MAE, PSNR and SSIM of images; `region` is mask or image, set with the pairs.

    An image without any error counts as one with the error of rounding to its levels, 58.9 dB for 8 bits.
    """

    higher_is_better = True
    needs_target: ClassVar[bool] = True
    needs_reals: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    contract_attributes: ClassVar[tuple[str, ...]] = ("region",)

    def __init__(self) -> None:
        super().__init__()
        self.region = "image"
        self.declare_states("mae", "psnr", "ssim")

    def directions(self) -> dict[str, bool]:
        return {"mae": False, "psnr": True, "ssim": True}

    def setup(self, data: DataLike) -> str | None:
        modality = modality_of(data)
        return None if modality.planar else f"it is for images, and these data are {modality.plural}"

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.x is None or features.target is None:
            raise ValueError("paired distances need the truth of each sample, and these have none")
        levels = LEVELS.get(features.x.dtype, 255)
        x, target = to_float(features.x).cpu(), features.target.cpu()
        inside = torch.ones_like(x) if features.mask is None else (features.mask.cpu() > 0).expand_as(x).to(x.dtype)
        error = (x - target).to(torch.float64)
        mae, mse = (_mean_inside(distance, inside) for distance in (error.abs(), error.square()))
        self.append_rows("mae", mae)
        self.append_rows("psnr", 10 * (PEAK**2 / mse.clamp(min=(PEAK / levels) ** 2 / 12)).log10())
        if min(x.shape[2:]) >= SMALLEST_SSIM:
            self.append_rows("ssim", _ssim(x, target, None if features.mask is None else inside))

    def compute(self) -> dict[str, Result]:
        """Return the means over images; there is no ssim of images below 6 pixels."""
        names = [name for name in self.directions() if len(self.all_rows(name) if getattr(self, name) else ())]
        return {name: Result(self.all_rows(name).mean(), n=len(self.all_rows(name))) for name in names}


def _mean_inside(value: Tensor, inside: Tensor) -> Tensor:
    """Return the mean over the numbers inside of each sample, float64 [N]; 0 if there are none."""
    return (value * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)


def _ssim(x: Tensor, target: Tensor, inside: Tensor | None) -> Tensor:
    """Return the SSIM of each image, float64 [N], of values in [0, 1]: its luminance term is for means from 0 on.

    In float64: variances are differences of means, whose rounding in float32 costs plain images 3e-4.
    """
    x, target = ((image.to(torch.float64) + 1) / 2 for image in (x, target))
    arguments: Any = {"data_range": 1.0, "reduction": "none"}
    if inside is None and min(x.shape[2:]) >= SMALLEST_FULL:
        return structural_similarity_index_measure(x, target, **arguments)  # pyright: ignore[reportReturnType]
    _, full = structural_similarity_index_measure(x, target, return_full_image=True, **arguments)
    return _mean_inside(full, torch.ones_like(x) if inside is None else inside)
