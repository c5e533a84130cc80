"""Log-mel spectrograms of waveforms: the input of vocoders, and the space of their reconstruction loss.

See `saddlepoint.modality.mel`: 64 bins, windows of about 32 ms, half a window from frame to frame.
"""

from torch import Tensor, nn

from saddlepoint.modality.mel import MelSpectrogram


class LogMel(nn.Module):
    """A maker: waveforms [N, C, L] in [-1, 1] -> log magnitudes [N, C, 64, L / hop]; differentiable.

    rate  samples per second
    """

    def __init__(self, rate: int = 8_000) -> None:
        super().__init__()
        self.transform = MelSpectrogram.of_rate(rate)

    def forward(self, x: Tensor, condition: object = None) -> Tensor:
        """Return the spectrograms.  Raises Mistake unless L is a multiple of the hop."""
        return self.transform(x)

    def extra_repr(self) -> str:
        return f"rate={self.transform.rate}, hop={self.transform.hop}"
