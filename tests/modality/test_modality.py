"""Laws of modalities: stored form and float form convert without loss, and files keep the stored form."""

from __future__ import annotations

import io
import math
import wave

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from scipy.io import wavfile

from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Image, Points, Tokens, default_modality, infer_modality, is_bounded_shape
from saddlepoint.modality.audio import spectrogram

DRAWS = torch.Generator().manual_seed(0)
WORDS = Tokens(["", "a", "b", "c"])
STORED = {
    "8 bits": (Image(8), torch.randint(0, 256, (6, 5, 4, 7), generator=DRAWS).to(torch.uint8)),
    "16 bits": (Image(16), torch.randint(0, 65536, (6, 5, 4, 7), generator=DRAWS).to(torch.uint16)),
    "points": (Points(), torch.randn(6, 3, generator=DRAWS)),
    "int16": (Audio(8000, 16), torch.randint(-32768, 32768, (6, 2, 300), generator=DRAWS).to(torch.int16)),
    "float": (Audio(8000, 32), torch.rand(6, 2, 300, generator=DRAWS) * 2 - 1),
    "tokens": (WORDS, torch.randint(0, 4, (6, 9), generator=DRAWS)),
}
EACH = pytest.mark.parametrize("name", STORED)


@EACH
def test_stored_samples_survive_conversion_to_float_and_back_bit_for_bit(name: str) -> None:
    modality, x = STORED[name]
    inside = modality.to_float(x)
    assert modality.has_stored_form(x)
    assert inside.dtype == torch.float32
    assert tuple(inside.shape[1:]) == modality.sample_shape(x)
    assert torch.equal(modality.to_stored(inside), x)
    assert not modality.bounded or float(inside.abs().max()) <= 1


def test_every_value_of_16_bits_survives_conversion() -> None:
    levels = torch.arange(65536)
    image, audio = levels.to(torch.uint16).view(1, 1, 256, 256), (levels - 32768).to(torch.int16).view(1, 1, -1)
    assert torch.equal(Image(16).to_stored(Image(16).to_float(image)), image)
    assert torch.equal(Audio(bits=16).to_stored(Audio(bits=16).to_float(audio)), audio)


@pytest.mark.parametrize("bits", [8, 16])
def test_density_units_are_0_to_1_for_levels_and_else_the_float_form(bits: int) -> None:
    levels = torch.tensor([0, 51, 2**bits - 1]).to(torch.uint8 if bits == 8 else torch.uint16)
    unit = Image(bits).to_density_units(levels, torch.float64)
    assert unit.tolist() == [0, 51 / (2**bits - 1), 1]
    assert Audio(bits=16).to_density_units(
        torch.tensor([-32768, 16384], dtype=torch.int16), torch.float64
    ).tolist() == [-1, 0.5]


def test_values_out_of_range_are_clamped() -> None:
    beyond = torch.tensor([-3.0, 3.0])
    assert Image(16).to_stored(beyond).tolist() == [0, 65535]
    assert Audio(bits=16).to_stored(beyond).tolist() == [-32768, 32767]
    assert Audio().to_stored(beyond).tolist() == [-1, 1]


@EACH
def test_an_npz_keeps_the_stored_form(name: str) -> None:
    modality, x = STORED[name]
    with np.load(io.BytesIO(modality.file_content(x, ".npz"))) as file:
        stored = torch.from_numpy(file["arr_0"])
        assert torch.equal(stored.permute(0, 3, 1, 2) if modality.planar else stored, x)
        assert "rate" not in file or int(file["rate"]) == 8000
        assert "vocabulary" not in file or file["vocabulary"].tolist() == ["", "a", "b", "c"]


@EACH
@pytest.mark.parametrize("form", ["stored", "inside"])
def test_stored_and_float_form_give_the_same_picture(name: str, form: str) -> None:
    modality, x = STORED[name]
    samples = x if form == "stored" else modality.to_float(x)
    assert np.array_equal(np.asarray(modality.picture(samples)), np.asarray(modality.picture(x)))


def test_wav_files_keep_the_samples_and_the_rate() -> None:
    modality, x = STORED["int16"]
    files = dict(modality.folder_contents(x))
    assert list(files) == [f"{i}.wav" for i in range(6)]
    for content, sound in zip(files.values(), x, strict=True):
        rate, samples = wavfile.read(io.BytesIO(content))
        assert (rate, samples.dtype) == (8000, np.int16)
        assert np.array_equal(samples.T, sound.numpy())
    with wave.open(io.BytesIO(modality.file_content(x[:1], ".wav"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8000, 2, 300)


def test_wav_files_of_float_audio_keep_all_32_bits() -> None:
    modality, x = STORED["float"]
    rate, samples = wavfile.read(io.BytesIO(next(iter(modality.folder_contents(x)))[1]))
    assert (rate, samples.dtype) == (8000, np.float32)
    assert np.array_equal(samples.T, x[0].numpy())


def test_text_reports_the_loss_of_empty_symbols() -> None:
    assert "empty symbol" in str(WORDS.describe_information_loss(".txt"))
    assert WORDS.describe_information_loss(".npz") is None
    assert Tokens(["a", "b"]).describe_information_loss(".txt") is None


def test_grey_pngs_of_16_bits_keep_16_bits() -> None:
    x = STORED["16 bits"][1][:, :1]
    for (_, content), image in zip(Image(16).folder_contents(x), x, strict=True):
        assert np.array_equal(np.asarray(Picture.open(io.BytesIO(content))).astype(np.int64), image[0].numpy())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_folder_of_pngs_keeps_every_value_of_grey_and_colour(channels: int) -> None:
    x = STORED["8 bits"][1][:, :channels]
    files = [np.asarray(Picture.open(io.BytesIO(content))) for _, content in Image().folder_contents(x)]
    assert np.array_equal(np.stack(files).reshape(6, 4, 7, channels).transpose(0, 3, 1, 2), x.numpy())


def test_the_default_extractor_depends_on_shape_and_classes() -> None:
    for modality in (Audio(), WORDS):
        assert (modality.default_extractor((2, 2048)), modality.default_extractor((2, 2049))) == ("identity", None)
    assert (Image().default_extractor((1, 8, 8)), Image().default_extractor((1, 8, 8), 10)) == ("nearest", "trained")
    assert Points().default_extractor((2,)) == "identity"


def test_only_points_are_drawn_over_the_reals_which_set_the_limits() -> None:
    assert [modality.draws_over_reals for modality, _ in STORED.values()] == [name == "points" for name in STORED]
    x, reals = torch.zeros(1, 2), 0.9 - torch.rand(500, 2, generator=DRAWS)
    over, alone, wide = (np.asarray(Points().picture(x, reals=beside)) for beside in (reals, None, 9 * reals))
    grey, without = ((picture == 0xBB).all(-1).sum() for picture in (over, alone))
    assert grey > without + 500
    assert not np.array_equal(over, wide), "other limits"


def test_text_has_one_line_per_sample_without_empty_symbols() -> None:
    x = torch.tensor([[1, 2, 0, 3], [0, 0, 0, 0], [3, 3, 0, 0]])
    assert WORDS.file_content(x, ".txt") == b"abc\n\ncc\n"
    assert Tokens(["", "the", "cat"], " ").to_text(torch.tensor([[1, 2, 0]])) == ["the cat"]


def test_characters_that_matplotlib_would_typeset_or_lacks_are_drawn_as_text() -> None:
    Tokens(["", "$", "\\", "\n", "\u4e2d"]).picture(torch.tensor([[1, 2, 1, 3], [4, 4, 0, 0]]))


def test_the_first_of_equally_probable_symbols_is_stored() -> None:
    assert WORDS.to_stored(torch.full((1, 2, 4), 0.25)).tolist() == [[0, 0]]


def test_the_spectrogram_of_a_sine_peaks_at_its_frequency_and_level() -> None:
    rate, frequency = 8000, 1000
    sound = 0.5 * torch.sin(2 * math.pi * frequency * torch.arange(2048) / rate)
    levels = spectrogram(sound)
    assert torch.all(levels.argmax(0) == frequency / rate * 256)
    assert float(levels.max()) == pytest.approx(20 * math.log10(0.5), abs=0.1)
    assert float(spectrogram(torch.zeros(2048)).max()) == pytest.approx(-100, abs=1e-3)


def test_the_first_channel_of_a_sound_is_drawn() -> None:
    left, right = torch.sin(torch.arange(64) / 3)[None, None], torch.zeros(1, 1, 64)
    waveforms = left, right, torch.cat([left, right], 1)
    left_picture, right_picture, stereo_picture = (np.asarray(Audio().picture(x)) for x in waveforms)
    assert np.array_equal(stereo_picture, left_picture)
    assert not np.array_equal(stereo_picture, right_picture)


@pytest.mark.parametrize("length", [1, 3, 255, 257])
def test_sounds_of_any_length_are_drawn(length: int) -> None:
    Audio().picture(torch.zeros(2, 1, length))


def test_the_default_modality_of_a_shape_is_points_audio_or_8_bit_images() -> None:
    inferred = [default_modality(shape) for shape in ((2,), (1, 64), (3, 8, 8))]
    assert [one.name for one in inferred] == ["points", "audio", "image"]
    assert inferred[2].describe() == {"name": "image", "bits": 8}
    assert [is_bounded_shape(shape) for shape in ((2,), (1, 64), (3, 8, 8))] == [False, None, True]
    with pytest.raises(Mistake, match=r"data.shape=\[1, 4, 8, 8\].*modality"):
        default_modality((1, 4, 8, 8))


@EACH
def test_the_modality_is_inferred_from_stored_samples(name: str) -> None:
    modality, x = STORED[name]
    inferred = infer_modality(x)
    assert (inferred.name, inferred.stored_form) == (modality.name, modality.stored_form)
    assert torch.equal(inferred.to_float(x), modality.to_float(x))


@pytest.mark.parametrize("x", [torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, dtype=torch.float64), torch.zeros(4).long()])
def test_the_modality_of_other_tensors_is_refused(x: torch.Tensor) -> None:
    with pytest.raises(Mistake, match="stored samples are uint8 or uint16 images"):
        infer_modality(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Image(12), "8 or 16 bits"),
        (lambda: Audio(bits=8), "16 bits .int16. or 32"),
        (lambda: Audio(0), "data.rate=0"),
        (lambda: Tokens(["a"]), "two different symbols"),
        (lambda: Tokens(["a", "a"]), "two different symbols"),
        (lambda: Image().check_suffix("/", (5, 4, 4)), "5 channels cannot be PNGs"),
        (lambda: Image(16).check_suffix("/", (3, 4, 4)), "16-bit images with 3 channels"),
        (lambda: Points().check_suffix("/", (2,)), "points cannot be written as PNGs"),
        (lambda: Audio().check_suffix("/", (1, 9)), "these data have none"),
        (lambda: Audio(8000).check_suffix(".wav", (1, 9), 2), "n=1"),
        (lambda: WORDS.check_suffix("/", (9, 4)), "lines.txt"),
        (lambda: WORDS.check_suffix(".wav", (9, 4)), "samples go to lines.txt, an array.npz or a picture.png"),
    ],
)
def test_invalid_settings_are_refused_with_the_valid_ones(make, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        make()
