"""A colour image as grey: ITU-R 601-2 luma, 0.299 R + 0.587 G + 0.114 B, rounded to the 256 levels of an image file.

The source of colourisation (Zhang et al. 2016, arXiv:1603.08511, section 2, which uses the lightness of CIE Lab
instead).
"""

from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.pixel import to_float, to_uint8

LUMA = (0.299, 0.587, 0.114)


class Grey(nn.Module):
    """A maker: RGB images [N, 3, H, W] in [-1, 1] -> grey ones [N, 1, H, W], as a grey 8-bit file of them has."""

    def forward(self, x: Tensor, condition: object = None) -> Tensor:
        """Return the luma.  Raises Mistake if x is not RGB."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise Mistake(f"grey needs RGB images [N, 3, H, W], and x is {list(x.shape)}")
        luma = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        return to_float(to_uint8(luma))
