"""Mel distance of a vocoder's waveforms from the truth: E|M(x) - M(t)|, M the log-mel spectrogram, in nats.

The reconstruction loss of Kong et al. 2020 (HiFi-GAN, arXiv:2010.05646), eq. 5, on held-out sounds, over all bins and
frames. It ignores phase: Griffin-Lim, which looks for a waveform of the given spectrogram and nothing else, is its
natural baseline and an anchor.
"""

from typing import ClassVar

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.modality import Audio, modality_of
from saddlepoint.modality.mel import MelSpectrogram


class MelDistance(Metric):
    """The mean over samples, with the standard error of that mean; sample i against the truth of row i."""

    higher_is_better = False
    needs_target: ClassVar[bool] = True
    needs_reals: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.region = "image"  # the pairs of a vocoder have no mask
        self._audio: Audio | None = None
        self.declare_states("distance")

    def setup(self, data: DataLike) -> str | None:
        modality = modality_of(data)
        has_rate = isinstance(modality, Audio) and modality.image_shape(tuple(data.shape)) is not None
        self._audio = modality if has_rate else None  # pyright: ignore[reportAttributeAccessIssue]
        if has_rate:
            return None
        return f"it is for audio with a rate, of a window at least, and these data are {modality.plural}"

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.x is None or features.target is None or self._audio is None:
            raise ValueError("the mel distance needs the truth of each sample, and the data: call setup(data) first")
        assert self._audio.rate is not None
        mel = MelSpectrogram.of_rate(self._audio.rate)
        gap = mel(Audio.to_float(self._audio, features.x.cpu())) - mel(features.target.cpu())
        self.append_rows("distance", gap.abs().flatten(1).mean(1).double())

    def compute(self) -> Result:
        distance = self.all_rows("distance")
        return Result(distance.mean(), distance.std() / len(distance) ** 0.5, n=len(distance))
