"""Measure wav files: python benchmarks/sounds.py <folder>

Per file: peak and level (root mean square of samples above a hundredth of the peak) in decibels of full scale, the
share of clipped samples, the duration of sound, and quantiles 10%, 50% and 90% of the pitch over voiced frames of 32
ms. The pitch of a frame is the lag of the largest autocorrelation between 60 and 400 Hz; it is voiced if that is
above half of the power.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.io import wavfile

LOW, HIGH, FRAME, VOICED, QUIET = 60, 400, 0.032, 0.5, 0.01


def pitches(x: np.ndarray, rate: int) -> np.ndarray:
    """Return the pitch of each voiced frame of x [L], in Hz."""
    size = round(FRAME * rate)
    voiced = []
    for start in range(0, len(x) - size, size // 2):
        frame = x[start : start + size] - x[start : start + size].mean()
        if np.abs(frame).max() < QUIET * max(np.abs(x).max(), 1e-9):
            continue
        correlation = np.correlate(frame, frame, "full")[size - 1 :]
        correlation /= np.arange(size, 0, -1) / size  # unbiased
        lags = np.arange(rate // HIGH, min(rate // LOW + 1, size - 8))
        best = lags[correlation[lags].argmax()]
        if correlation[best] > VOICED * correlation[0]:
            voiced.append(rate / best)
    return np.array(voiced)


def main(folder: Path) -> None:
    print("file          peak dB  level dB  clipped  seconds  voiced  pitch 10%, 50%, 90% (Hz)")
    for path in sorted(folder.glob("*.wav")):
        rate, x = wavfile.read(path)
        x = (x / 32768 if x.dtype.kind == "i" else x).astype(float)
        x = x if x.ndim == 1 else x.mean(1)
        peak = np.abs(x).max()
        loud = np.abs(x) > QUIET * max(peak, 1e-9)
        level = np.sqrt(np.mean(x[loud] ** 2)) if loud.any() else 0.0
        where = np.flatnonzero(loud)
        seconds = (where[-1] - where[0]) / rate if len(where) else 0.0
        pitch = pitches(x, rate)
        ranges = ", ".join(f"{q:.0f}" for q in np.quantile(pitch, [0.1, 0.5, 0.9])) if len(pitch) else "none"
        decibels = [20 * np.log10(max(value, 1e-6)) for value in (peak, level)]
        clipped = np.mean(np.abs(x) >= 32767 / 32768)
        values = f"{decibels[0]:8.1f} {decibels[1]:9.1f} {clipped:8.4f} {seconds:8.2f} {len(pitch):7d}"
        print(f"{path.name:<12} {values}  {ranges}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
