"""The PatchGAN discriminator: a logit per patch.  Isola et al. 2017 (pix2pix, arXiv:1611.07004), section 3.2.2.

    4 x 4 with stride 2, `layers` times, then twice with stride 1; leaky ReLU 0.2, channels doubled up to 8 `width`

Each logit depends on a square of r x r pixels: 16, 34, 70 for 1, 2, 3 layers. Objectives take the mean over all logits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.architecture.dcgan import init_weights
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import Condition


class Discriminator(discriminator.Discriminator):
    """[N, C, H, W] -> logits [N, h, w]; hidden layers conv1, conv2, ..., the first without norm.

    layers     number of convolutions with stride 2; 3 in the paper, for 256 x 256
    condition  channels of each entry of the condition that is concatenated to x, by its name
    The attribute `receptive_field` is r, in pixels.
    Raises ValueError if r is larger than the image, so that a logit would depend on padding in place of pixels.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        layers: int = 1,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        strides = [*[2] * layers, 1, 1]
        size = receptive_field((4, stride) for stride in strides)
        if layers < 1:
            raise ValueError(f"patch: layers={layers} must be an integer of at least 1")
        if size > min(shape[1:]):
            raise ValueError(
                f"patch: with layers={layers}, a logit depends on {size} x {size} pixels, but the images have "
                f"{shape[1]} x {shape[2]}: reduce architecture.discriminator.layers, or enlarge the images (data.size)"
            )
        join = Concatenation(condition)
        widths = [shape[0] + join.width, *(width * min(2**i, 8) for i in range(layers + 1))]
        trunk: dict[str, nn.Module] = {
            f"conv{i}": hidden_layer(
                nn.Conv2d(a, b, 4, stride, 1, bias=norm is None or i == 1),
                b,
                norm if i > 1 else None,
                nn.LeakyReLU(0.2),
            )
            for i, ((a, b), stride) in enumerate(zip(pairwise(widths), strides, strict=False), 1)
        }
        if condition:
            trunk["conv1"] = ConditionalSequential(join, trunk["conv1"])
        super().__init__(trunk, widths[-1], readout=PatchReadout)
        self.receptive_field = size
        self.apply(init_weights)


class PatchReadout(nn.Module):
    """One logit per position: features [N, F, H, W] -> [N, H - 1, W - 1]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(features, 1, 4, 1, 1)

    def forward(self, features: Tensor, condition: Condition, heads: Mapping[str, Tensor]) -> Tensor:
        """Return the logits; condition and heads are for other readouts."""
        return self.convolution(features)[:, 0]


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    """Return r, the side in pixels of the square that an output depends on; `layers` are (kernel size, stride).

    r = 1 + sum_l (k_l - 1) prod_{m < l} s_m      (Araujo et al. 2019, doi:10.23915/distill.00021, eq. 2)
    """
    size, step = 1, 1
    for kernel, stride in layers:
        size, step = size + (kernel - 1) * step, step * stride
    return size
