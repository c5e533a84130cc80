"""The anchor sets match their descriptions."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from saddlepoint.data.data import Split
from saddlepoint.evaluation.anchor import NOISE, anchor_sets, private_class_means
from saddlepoint.extractor.data_like import Rows
from saddlepoint.extractor.extractor import Features
from saddlepoint.modality import Audio, Spectrogram
from saddlepoint.privacy.accountant import required_noise


def pixels(batches: Iterable[Rows], n: int, name: str) -> Iterator[Features]:
    return (Features(x.flatten(1).to(torch.float32), y=y) for x, y in batches)


def sets(data, n: int, seed: int = 0, batch: int = 16) -> dict[str, Tensor]:
    held_out = [data.split("validation"), data.split("test")]
    anchors = anchor_sets(data.split("train"), held_out, data.classes, n, batch, seed, pixels)
    return {name: torch.cat([batch.features for batch in features]) for name, _, features in anchors}


def rows(x: Tensor) -> list[tuple]:
    return [tuple(row) for row in x.flatten(1).tolist()]


def test_real_images_are_held_out_and_used_once(stripes) -> None:
    held_out = rows(torch.cat([stripes.split("validation").x, stripes.split("test").x]).float())
    assert sorted(rows(sets(stripes, 60)["real"])) == sorted(held_out)
    fewer = rows(sets(stripes, 25)["real"])
    assert len(set(fewer)) == 25
    assert set(fewer) <= set(held_out)
    assert fewer == rows(sets(stripes, 60)["real"])[:25]


def test_memorised_images_repeat_a_few_training_images_equally_often(stripes) -> None:
    known = set(rows(stripes.split("train").x.float()))
    for number in (10, 100):
        images = rows(sets(stripes, 200)[f"{number} memorised"])
        assert len(images) == 200
        assert set(images) <= known
        assert {images.count(row) for row in images} == {200 // number}


def test_audio_has_silence_and_spectrograms_their_inversion_as_anchors() -> None:
    x = (3000 * torch.randn(40, 1, 512, generator=torch.Generator().manual_seed(0))).to(torch.int16)
    audio, spectrogram = Audio(8000, 16), Spectrogram(8000, 16, [0.0] * 64, [1.0] * 64)
    for modality, names in ((audio, ["silence"]), (spectrogram, ["silence", "Griffin-Lim"])):
        train, held_out = Split("train", x[:20], modality=modality), Split("test", x[20:], modality=modality)
        by_set = {
            name: torch.cat([features.features for features in batches])
            for name, _, batches in anchor_sets(train, [held_out], None, 8, 4, 0, pixels)
        }
        assert list(by_set)[4:] == names
        assert not by_set["silence"].any()
        if modality is spectrogram:
            real = by_set["real"].view(8, 1, 512).to(torch.int16)
            assert torch.equal(by_set["Griffin-Lim"], modality.to_stored(modality.to_float(real)).flatten(1).float())


def test_noisy_means_have_the_specified_means_noise_and_frequencies(stripes) -> None:
    train = stripes.split("train")
    keep = torch.cat(
        [(train.y == 0).nonzero()[:15], (train.y == 1).nonzero()]
    ).flatten()  # one dark image per four bright ones
    train.x, train.y = train.x[keep], train.y[keep]
    images = sets(stripes, 4000)["class means + noise"]
    bright = images.mean(1) > 0
    assert abs(bright.float().mean() - train.y.float().mean()) < 0.05
    for label in (0, 1):
        of_class = images[bright == bool(label)]
        mean = (train.x[train.y == label].float() / 127.5 - 1).mean(0).flatten()
        assert (of_class.mean(0) - mean).abs().max() < 0.03
        assert abs(of_class.std(0).mean() - 0.2) < 0.01


def test_the_noise_of_other_modalities_is_a_fifth_of_the_deviation_of_each_value() -> None:
    """Pixels have a fixed range; coordinates and amplitudes have any scale."""
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 10])
    extracted = anchor_sets(Split("train", x), [], None, 4000, 64, 0, pixels)
    (noisy,) = (torch.cat([batch.features for batch in batches]) for name, _, batches in extracted if "noise" in name)
    assert torch.allclose(noisy.std(0), 0.2 * x.std(0), rtol=0.05)


def test_labels_stay_with_their_images(stripes) -> None:
    held_out = [stripes.split("validation"), stripes.split("test")]
    for name, _, batches in anchor_sets(stripes.split("train"), held_out, 2, 50, 16, 0, pixels):
        features = Features.concatenate(batches)
        dark = features.features.mean(1) < (0 if "means" in name else 120)
        assert torch.equal(features.y, (~dark).long()), name


def test_the_sets_depend_on_the_seed_and_not_on_the_batch(stripes) -> None:
    first, other_batch, other_seed = sets(stripes, 40), sets(stripes, 40, batch=7), sets(stripes, 40, seed=1)
    for name in ("real", "10 memorised"):
        assert torch.equal(first[name], other_batch[name])
        assert not torch.equal(first[name], other_seed[name])


def test_without_held_out_images_there_is_no_real_anchor(stripes) -> None:
    anchors = anchor_sets(stripes.split("train"), [], 2, 40, 16, 0, pixels)
    assert [name for name, _, _ in anchors] == ["10 memorised", "100 memorised", "class means + noise"]


def test_private_class_means_are_the_class_means_with_the_noise_of_their_epsilon() -> None:
    side, n, epsilon, delta = 20, 400, 2.0, 1e-4
    y = torch.arange(n) % 2
    x = (40 + 150 * y)[:, None, None, None].expand(n, 1, side, side).to(torch.uint8)
    split = Split("train", x, y, 2)
    drawn = list(private_class_means(split, 2, 20_000, 500, 0, epsilon, delta))
    samples, labels = torch.cat([rows for rows, _ in drawn]), torch.cat([label for _, label in drawn])
    assert abs(labels.double().mean() - 0.5) < 0.03
    sigma = 2**0.5 * required_noise(1.0, 1, epsilon, delta)
    for label in (0, 1):
        of_class = samples[labels == label]
        error = of_class.mean(0).flatten() - (float(x[label, 0, 0, 0]) / 127.5 - 1)
        expected = side * sigma / (n / 2)  # of the mean of a class; the noise of the count shifts all pixels
        assert abs(error.std() / expected - 1) < 0.15
        assert abs(of_class.std(0).mean() - NOISE) < 0.01


def test_private_class_means_stay_in_range_and_are_noise_if_epsilon_is_small() -> None:
    y = torch.arange(20) % 2
    split = Split("train", (255 * y)[:, None, None, None].expand(20, 1, 6, 6).to(torch.uint8), y, 2)
    ((samples, _),) = private_class_means(split, 2, 200, 200, 0, 0.01, 1e-4)
    assert samples.abs().max() < 1 + 6 * NOISE
    assert samples.mean(0).std() > 0.5  # black and white pixels at random
