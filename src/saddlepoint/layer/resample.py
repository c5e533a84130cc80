"""Anti-aliased resampling by 2: a low-pass filter before every second pixel is dropped, or after zeros are inserted.

    down:  y[i] = sum_j k[j] x[2 i + j - p]        up:  y[2 i + j - p] += 2 k[j] x[i]        in each of both dimensions

k are the taps, divided by their sum; p = (len(k) - 1) // 2; x is 0 outside. `up` is 4 times the transpose of `down`.
Zhang 2019 (arXiv:1904.11486), section 3. Taps 1, 3, 3, 1 are those of Karras et al. 2019 (arXiv:1912.04958, the code)
and interpolate bilinearly; 1, 1 are the mean of 2 x 2 and the nearest neighbour, without anti-aliasing. An odd number
of taps moves images by half a pixel of the higher resolution: 1, 2, 1 keep every pixel and put means between them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d


class _Filter(nn.Module):
    """The kernel of separable taps, [1, 1, t, t], as a buffer that is not saved."""

    kernel: Tensor

    def __init__(self, taps: Sequence[float] = (1, 3, 3, 1)) -> None:
        super().__init__()
        if len(taps) < 2 or sum(taps) == 0:
            raise ValueError(f"resample: taps={list(taps)} must be at least two numbers with a sum other than 0")
        k = torch.tensor(tuple(taps), dtype=torch.get_default_dtype())
        self.taps, self.padding = tuple(taps), (len(taps) - 1) // 2
        self.register_buffer("kernel", torch.outer(k, k)[None, None] / sum(taps) ** 2, persistent=False)

    def extra_repr(self) -> str:
        return f"taps={list(self.taps)}"


class Blur(_Filter):
    """[N, C, H, W] -> [N, C, H + 2 padding - t + 1, ...] for t taps: the filter alone, with zeros around x.

    Before a convolution of stride 2, or after a transposed one, it is cheaper than resampling at the higher resolution.
    """

    def __init__(self, taps: Sequence[float] = (1, 3, 3, 1), padding: int = 1) -> None:
        super().__init__(taps)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], -1, -1, -1)
        return conv2d(x, kernel, padding=self.padding, groups=x.shape[1])


class Downsample(_Filter):
    """[N, C, H, W] -> [N, C, H / 2, W / 2], for even H and W.  Raises ValueError for fewer than two taps, or sum 0."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], -1, -1, -1)
        return conv2d(x, kernel, stride=2, padding=self.padding, groups=x.shape[1])


class Upsample(_Filter):
    """[N, C, H, W] -> [N, C, 2 H, 2 W].  Raises ValueError for fewer than two taps, or sum 0."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = 4 * self.kernel.to(x.dtype).expand(x.shape[1], -1, -1, -1)
        odd = len(self.taps) % 2
        return conv_transpose2d(x, kernel, None, 2, self.padding, output_padding=odd, groups=x.shape[1])
