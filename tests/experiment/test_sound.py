"""Sound from a user's folder by three routes: spectrograms by networks of images, waveforms by WaveGAN, and a vocoder.

Each resumes bit for bit, is measured with its anchors, sampled as wav files, compared with players, and exported.
"""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from runs import assert_equal, state
from scipy.io import wavfile

from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.experiment.train import train

FEW = [
    "batch=8", "threads=1", "logger=none", "data.length=1024", "callback.checkpoint.images_between=1000000",
    "evaluation.selection.split=null", "callback.grid.rows=2", "callback.grid.columns=2",
    "callback.grid.images_between=32", "callback.health.images_between=16",
    "callback.health.n=20", "callback.evaluation.images_between=1000000", "data.test=0.3", "data.validation=0.3",
]  # fmt: skip
ROUTES = {
    "spectrograms": ["data.spectrogram=true", "game=cgan", "metric=[kernel_distance,class_agreement]"],
    "waveforms": [
        "architecture=wavegan", "game=phase_shuffle", "regularizer=[approximated_r1]", "architecture.generator.width=2",
        "architecture.discriminator.width=2", "metric=[kernel_distance,class_coverage,paired]",
    ],
    "vocoder": [
        "architecture=hifigan", "game=vocoder", "objective=least_squares", "game.conditions=split:test",
        "regularizer=[reconstruction,paired_feature_matching]", "regularizer.generator.reconstruction.side=fake_mel",
        "regularizer.generator.reconstruction.target=mel", "architecture.generator.width=8",
        "architecture.generator.kernels=[3]", "architecture.generator.dilations=[[1,2]]",
        "architecture.discriminator.periods=[2]", "architecture.discriminator.scales=1",
        "architecture.discriminator.width=4", "metric=[mel_distance]", "evaluation.n=20", "+callback=pair_grid",
        "callback.pair_grid.images_between=32",
    ],
}  # fmt: skip


def run(outputs: Path, *overrides: str):
    """Train; return the record, with the terminal output as `.said`."""
    console = Console(file=io.StringIO(), width=200)
    record = train(compose([f"outputs={outputs}", *overrides]), console)
    record.said = console.file.getvalue()
    return record


def tones(folder: Path, n: int = 80) -> str:
    """Tones of two classes, low and high, of 1,024 samples."""
    draws, seconds = np.random.default_rng(0), np.arange(1024) / 8000
    for i in range(n):
        kind = "low" if i % 2 else "high"
        pitch = draws.uniform(200, 500) if kind == "low" else draws.uniform(1200, 2500)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        sound = 9000 * np.sin(2 * np.pi * pitch * seconds) * np.exp(-3 * seconds)
        wavfile.write(folder / kind / f"{i:03d}.wav", 8000, sound.astype(np.int16))
    return str(folder)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    tones(folder / "tones")
    return folder


@pytest.mark.parametrize(
    "route", ["spectrograms", *(pytest.param(route, marks=pytest.mark.slow) for route in ("waveforms", "vocoder"))]
)
def test_a_route_is_trained_resumed_measured_heard_compared_and_exported(
    route: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [
        "data=audio_folder",
        f"data.folder={sounds / 'tones'}",
        *FEW,
        *ROUTES[route],
        f"cache={sounds / 'cache'}",
    ]
    settings += ["metric.kid.subset_size=null"] if "kernel_distance" in " ".join(settings) else []
    straight = run(tmp_path / "whole", *settings, "images=32")
    run(tmp_path / "parts", *settings, "images=16")
    resumed = run(tmp_path / "parts", *settings, "images=32")
    assert_equal(state(straight), state(resumed))
    assert straight.summary["final"] == resumed.summary["final"], "and so every score"
    rate, heard = wavfile.read(straight.samples / "000000032.wav")
    assert (rate, len(heard)) == (8000, 4 * (1024 + 2000))
    assert any("health/diversity" in row for row in straight.rows())
    scores, anchors = straight.summary["final"], straight.summary["anchors"]
    if route == "vocoder":
        (key,) = scores
        distances = {name: anchor[key]["value"] for name, anchor in anchors.items()}
        assert distances["truth"] < 0.02
        assert distances["truth"] < distances["Griffin-Lim"] < distances["mean"]
        assert (straight.samples / "pairs" / "000000032.png").exists()
    else:
        key = next(key for key in scores if key.startswith("kid"))
        assert re.fullmatch(r"kid_classifier-\w{8}_\d+_train", key), "a classifier of the log-mel spectrograms"
        assert {"real", "silence", "class means + noise"} <= set(anchors)
        assert ("Griffin-Lim" in anchors) == (route == "spectrograms")
    if route == "waveforms":
        assert "paired is left out: it is for images, and these data are audio" in straight.said
    assert main(["sample", f"run={straight.folder}", "n=3", "to=made/"]) == 0
    made = [wavfile.read(path) for path in sorted((tmp_path / "made").glob("*.wav"))]
    assert [(rate, x.shape, x.dtype) for rate, x in made] == [(8000, (1024,), np.int16)] * 3
    if route != "spectrograms":
        return
    run(tmp_path / "whole", *settings, "images=32", "optimizer.generator.lr=1e-3")
    assert main(["compare", "runs=whole/*", f"metric={next(iter(scores))}", "to=report", "logger.mode=disabled"]) == 0
    assert "<audio controls" in (tmp_path / "report" / "report.html").read_text()
    assert (tmp_path / "report" / "sounds1.wav").read_bytes()[:4] == b"RIFF"


def test_samples_of_sound_are_checked_for_copies(sounds: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Training clips with a little noise are copies; the nearest clips are drawn as spectrograms."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copies").mkdir()
    paths = sorted((sounds / "tones").rglob("*.wav"))
    for i, path in enumerate(paths[:60]):
        wavfile.write(tmp_path / "copies" / f"{i}.wav", 8000, wavfile.read(path)[1] + np.int16(3))
    settings = ["data=audio_folder", f"data.folder={sounds / 'tones'}", f"cache={sounds / 'cache'}", "data.test=0.5"]
    settings += ["data.validation=0.13", "data.extractor=null"]
    assert main(["memorisation", "samples=copies", "n=60", *settings]) == 0
    assert (tmp_path / "memorisation.png").is_file()
    assert "audio" in capsys.readouterr().out


def test_image_metrics_of_sound_are_left_out_with_what_is_there_instead(sounds: Path, tmp_path: Path) -> None:
    settings = ["data=audio_folder", f"data.folder={sounds / 'tones'}", *FEW, f"cache={sounds / 'cache'}"]
    record = run(tmp_path / "runs", *settings, "images=8", "metric=[gan_train,paired,language_model]")
    assert "it trains an image classifier, and these data are audio" in record.said
    assert "paired is left out: it is for images, and these data are audio" in record.said
    assert "language_model is left out: it measures tokens, and these data are audio" in record.said


def test_networks_of_waveforms_refuse_images_and_points(capsys) -> None:
    assert main(["train", "architecture=wavegan", "images=64", "logger=none"]) == 1
    assert "wavegan" in capsys.readouterr().err
