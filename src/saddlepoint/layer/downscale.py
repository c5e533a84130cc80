"""Images with each side divided by a factor, rounded to the 256 levels of an image file: sources of super-resolution.

box      the mean of factor x factor pixels
bicubic  Keys' cubic kernel (a = -1/2), stretched by the factor, so without aliasing; as Pillow's BICUBIC
Ledig et al. 2017 (arXiv:1609.04802), section 3, use a Gaussian filter and 4 x 4; the benchmarks of the field bicubic.
"""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from saddlepoint.error import Mistake
from saddlepoint.pixel import to_float, to_uint8

METHODS = ("box", "bicubic")


class Downscale(nn.Module):
    """A maker: images [N, C, H, W] in [-1, 1] -> [N, C, H / factor, W / factor], as an 8-bit file of them has.

    factor  an integer of at least 2
    method  box or bicubic
    Raises ValueError for another factor or method.
    """

    def __init__(self, factor: int = 4, method: str = "box") -> None:
        super().__init__()
        if type(factor) is not int or factor < 2:
            raise ValueError(f"downscale: factor={factor} must be an integer of at least 2")
        if method not in METHODS:
            raise ValueError(f"downscale: method={method} must be {' or '.join(METHODS)}")
        self.factor, self.method = factor, method

    def forward(self, x: Tensor, condition: object = None) -> Tensor:
        """Return the small images.  Raises Mistake if the factor does not divide both sides."""
        if x.ndim != 4 or x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise Mistake(
                f"downscale: x is {list(x.shape)}, but factor={self.factor} must divide height and width of images; "
                "crop the data (data.size), or choose another factor"
            )
        if self.method == "box":
            small = avg_pool2d(x, self.factor)
        else:
            size = x.shape[2] // self.factor, x.shape[3] // self.factor
            small = interpolate(x, size, mode="bicubic", antialias=True)
        return to_float(to_uint8(small))

    def extra_repr(self) -> str:
        return f"factor={self.factor}, method={self.method}"
