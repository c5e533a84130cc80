"""Waveforms, sequences of tokens and 5-channel 16-bit images from user folders: train with the default callbacks,
write samples in their formats, resume, measure, compare."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import assert_equal, run, state
from scipy.io import wavfile

from saddlepoint.cli import main

DRAWS = np.random.default_rng(0)


def waves(folder: Path) -> list[str]:
    (folder / "sounds").mkdir()
    seconds = np.arange(1024) / 8000
    for i in range(120):
        sound = 0.5 * np.sin(2 * np.pi * DRAWS.uniform(200, 900) * seconds)
        wavfile.write(folder / "sounds" / f"{i:03d}.wav", 8000, (32767 * sound).astype(np.int16))
    quick = ["callback.grid.rows=2", "callback.grid.columns=1", "evaluation.selection.split=null"]
    return ["data=audio_folder", f"data.folder={folder / 'sounds'}", *quick]


def lines(folder: Path) -> list[str]:
    text = ["ab"[i % 2] * (1 + i % 5) + "xyz"[i % 3] for i in range(120)]
    (folder / "lines.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    return ["data=text_lines", f"data.folder={folder / 'lines.txt'}", "architecture=sequence"]


def rectangles(folder: Path) -> list[str]:
    np.savez(folder / "x.npz", x=DRAWS.integers(0, 65536, (120, 6, 10, 5)).astype(np.uint16))
    return ["data=image_folder", f"data.folder={folder / 'x.npz'}", "data.channels=5", "data.extractor=identity"]


def check_waves(folder: Path) -> None:
    with wave.open(str(folder / "samples" / "3.wav")) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (8000, 2, 1024)
    assert len(list((folder / "samples").iterdir())) == 9


def check_lines(folder: Path) -> None:
    lines = (folder / "samples.txt").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 10
    assert set("".join(lines)) <= set("abxyz")


def check_rectangles(folder: Path) -> None:
    x = np.load(folder / "x5.npz")["arr_0"]
    assert (x.dtype, x.shape) == (np.uint16, (9, 6, 10, 5))
    assert np.unique(x).size > 1000, "8 bits would be 256 levels"


KINDS: dict[str, tuple[Any, str | None, Any]] = {
    "audio": (waves, None, check_waves),
    "tokens": (lines, None, check_lines),
    "image": (rectangles, "x5.npz", check_rectangles),
}
FEW = [
    "batch=32",
    "callback.checkpoint.images_between=1000000",
    "callback.grid.images_between=512",
    "callback.evaluation.images_between=512",
    "callback.health.images_between=256",
    "evaluation.selection.n=10",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_modality_from_a_folder_is_trained_sampled_resumed_measured_and_compared(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make, to, check = KINDS[kind]
    overrides = [*make(tmp_path), *FEW]
    if kind == "audio":  # quicker than a FID of 1,024 features
        overrides += ["metric=[kernel_distance,inception_score]", "metric.kid.subset_size=null"]
    if kind == "tokens":
        overrides += [f"architecture.{player}.kernel=3" for player in ("generator", "discriminator")]
    straight = run(tmp_path / "whole", *overrides, "images=512")
    run(tmp_path / "parts", *overrides, "images=256")
    resumed = run(tmp_path / "parts", *overrides, "images=512")
    assert_equal(state(straight), state(resumed))
    assert straight.summary["final"] == resumed.summary["final"], "and so every score"
    assert all(key.split("_")[1] == "identity" for key in straight.summary["final"])
    assert "inception_score is left out: it needs class predictions" in straight.said
    assert {path.name for path in straight.samples.iterdir()} >= {"real.png", "000000512.png", "animation.gif"}
    assert any("health/diversity" in row for row in straight.rows()), "health has looked"
    sampling = ["sample", f"run={straight.folder}", "n=9", *([f"to={to}"] if to else [])]
    capsys.readouterr()
    assert main(sampling) == 0
    assert ("text does not show empty symbols" in capsys.readouterr().err) == (kind == "tokens")
    check(tmp_path)
    assert main(["evaluate", f"run={straight.folder}"]) == 0
    (measured,) = (json.loads(line) for line in (straight.folder / "evaluations.jsonl").read_text().splitlines())
    assert measured["scores"] == straight.summary["final"]
    run(tmp_path / "whole", *overrides, "images=512", "objective=hinge")
    capsys.readouterr()
    key = next(key for key in straight.summary["final"] if key.startswith(("fid", "kid")))
    assert main(["compare", "runs=whole/*", "by=objective", f"metric={key}", "logger.mode=disabled"]) == 0
    assert "2 arms by objective; 2 runs found: 2 finished; each of " in capsys.readouterr().out


def test_waveforms_of_two_classes_are_conditioned_on_the_class_in_training_and_sampling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = waves(tmp_path)
    for i, path in enumerate(sorted((tmp_path / "sounds").iterdir())):
        (tmp_path / "sounds" / "ab"[i % 2]).mkdir(exist_ok=True)
        path.rename(tmp_path / "sounds" / "ab"[i % 2] / path.name)
    by_class = ["game=conditional", "architecture.generator.condition={label: 2}", "callback.grid.rows=8"]
    record = run(tmp_path / "runs", *overrides, *FEW, *by_class, "images=64", "metric=[]", "callback.grid.columns=8")
    assert (record.samples / "000000064.png").exists()
    assert main(["sample", f"run={record.folder}", "by=label", "n=4", "to=samples/"]) == 0
    assert len(list((tmp_path / "samples").glob("*.wav"))) == 4


def test_a_16_bit_image_is_measured_with_all_its_bits(tmp_path: Path) -> None:
    """Two sets that differ only below the eighth bit: identical at 8 bits, different at 16."""
    from saddlepoint.data.data import Split
    from saddlepoint.evaluation.evaluator import Evaluator
    from saddlepoint.extractor.identity import Identity
    from saddlepoint.metric.frechet_distance import FrechetDistance
    from saddlepoint.modality import Image

    high = torch.randint(0, 256, (300, 1, 1, 3), generator=torch.Generator().manual_seed(0))
    one, other = ((256 * high + low).to(torch.uint16) for low in (0, 255))
    reals, fakes = (Split(name, x) for name, x in (("train", one), ("fakes", other)))
    evaluator = Evaluator(Identity((1, 1, 3), modality=Image(16)), {"fid": FrechetDistance()}, 300)
    (score,) = evaluator.score_split(fakes, reals).values()
    assert score.value == pytest.approx(3 * (255 / 32767.5) ** 2, rel=1e-3)
    (generated,) = evaluator(lambda n: Image(16).to_float(other[:n]), reals).values()
    assert generated.value == score.value


def test_samples_without_a_destination_are_written_in_the_first_format_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audio without a known sampling rate cannot be a wav file."""
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", DRAWS.uniform(-1, 1, (40, 16)).astype(np.float32))
    overrides = [f"data.folder={tmp_path / 'x.npy'}", "data.extractor=null", "images=64"]
    trained = run(tmp_path / "runs", "data=audio_folder", *overrides)
    assert main(["sample", f"run={trained.folder}", "n=3"]) == 0
    assert np.load(tmp_path / "samples.npz")["arr_0"].shape == (3, 1, 16)


def test_a_network_for_tokens_is_refused_for_audio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of probabilities are not waveforms, although the shapes [T, V] and [C, L] have the same number of axes."""
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", DRAWS.uniform(-1, 1, (40, 16)).astype(np.float32))
    assert main(["train", "data=audio_folder", "data.folder=x.npy", "architecture=sequence", "logger=none"]) == 1
    output = capsys.readouterr()
    assert "is for tokens, but the data are audio: choose architecture=mlp" in output.out + output.err
    assert not (tmp_path / "outputs").exists()
