"""Wav files are logged as audio: by W&B as a file, by TensorBoard as samples in [-1, 1]."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from saddlepoint.run.tracking.tensorboard_log import TensorBoardLog
from saddlepoint.run.tracking.tracker import Tracker


def test_wandb_gets_the_file_at_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wavfile.write(tmp_path / "x.wav", 8000, np.zeros(80, np.int16))
    monkeypatch.setattr("wandb.Audio", lambda path: ("audio", path))
    tracker, rows = Tracker("offline"), []
    tracker._wandb = SimpleNamespace(log=rows.append)
    monkeypatch.setattr(tracker, "_submit_to_wandb", lambda call: call(tracker._wandb))
    tracker.log_sound("sounds", tmp_path / "x.wav", 64)
    assert rows == [{"sounds": ("audio", str(tmp_path / "x.wav")), "images": 64}]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_tensorboard_gets_the_first_channel_in_units_of_amplitude(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.linspace(-0.5, 0.5, 40).reshape(20, 2)
    wavfile.write(tmp_path / "x.wav", 8000, (x * (32768 if dtype == "int16" else 1)).astype(dtype))
    logged: list[Any] = []
    monkeypatch.setattr("saddlepoint.run.tracking.tensorboard_log.PACKAGES", ("torch",))
    log = TensorBoardLog()
    log.log_sound("sounds", tmp_path / "x.wav", 64)  # before the start: nothing
    log._board = SimpleNamespace(experiment=SimpleNamespace(add_audio=lambda *row: logged.append(row)))  # pyright: ignore[reportAttributeAccessIssue]
    log.log_sound("sounds", tmp_path / "x.wav", 64)
    ((key, sound, images, rate),) = logged
    assert (key, images, rate, sound.shape) == ("sounds", 64, 8000, (1, 20))
    torch.testing.assert_close(sound[0].double(), torch.from_numpy(x[:, 0]), atol=1e-4, rtol=0)
